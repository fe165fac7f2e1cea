"""The data that a build reads.

    checked   CheckedLoader: checks every batch
    labels    labels that a network has no score for
    files     loaders of a user's own data sets, in the formats of the field
    splits    the training data in two parts: to learn from, and to validate on
    sampled   some of the test data, where not all are judged
    indexed   loaders of data sets with indices, and of some of them
    rows      examples in a batch of any structure
"""
