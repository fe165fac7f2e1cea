"""Data: checked loaders, and Fashion-MNIST.

    checked         CheckedLoader: says what is wrong with a batch
    fashion_mnist   loaders of the real Fashion-MNIST from a folder of IDX files
"""
