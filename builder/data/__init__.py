"""Data that a build reads.

    checked   CheckedLoader: says what is wrong with a batch
    files     loaders of a user's own data sets, in the formats of the field
"""
