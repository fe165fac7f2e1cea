"""Data: checked loaders, data sets in files, Fashion-MNIST and what is made of it.

    checked         CheckedLoader: says what is wrong with a batch
    files           loaders of a user's own data sets, in the formats of the field
    fashion_mnist   loaders of the real Fashion-MNIST from a folder of IDX files
    garments        its garments cut out; scenes: several of them on textured grounds, with masks and boxes
    write           the built-in data as files
"""
