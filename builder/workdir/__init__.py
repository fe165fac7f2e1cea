"""The work directory of a build, and its progress.

    stage     results written atomically, valid for one fingerprint of their inputs
    clock     how long stages took, those of earlier runs included
    progress  a bar on a terminal, a line every ten seconds elsewhere
    seeds     one seed for all random numbers
"""
