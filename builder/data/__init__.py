"""The data that a build reads.

    checked   CheckedLoader: checks every batch
    files     loaders of a user's own data sets, in the formats of the field
"""
