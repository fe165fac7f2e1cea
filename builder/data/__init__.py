"""Data: checked loaders, and what the built-in recipes learn from, all made of Fashion-MNIST.

    checked         CheckedLoader: says what is wrong with a batch
    fashion_mnist   loaders of the real Fashion-MNIST from a folder of IDX files
    garments        its garments cut out, in three splits that have nothing in common
    scenes          several garments on a ground: masks and boxes
    clips           garments in motion
    poses           shirts under known transforms: keypoints
    anomalies       trousers, and what is none
"""
