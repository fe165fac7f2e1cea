"""What a build keeps and says while it runs.

    stage     results written atomically, found again only while what they were made from is unchanged
    clock     how long stages took, and which were taken from before
    progress  a bar on a terminal, a line now and then elsewhere
    seeds     everything random from one number
"""
