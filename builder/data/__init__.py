"""Data: checked loaders, data sets in files, and what the built-in recipes learn from, made of Fashion-MNIST.

    checked         CheckedLoader: says what is wrong with a batch
    files           loaders of a user's own data sets, in the formats of the field
    fashion_mnist   loaders of the real Fashion-MNIST from a folder of IDX files
    garments        its garments cut out, in three splits that have nothing in common
    scenes          several garments on a ground: masks and boxes
    clips           garments in motion
    poses           shirts under known transforms: keypoints
    anomalies       trousers, and what is none
    watched         a place watched by a camera: passers-by, and intruders
    write           the built-in data as files
"""
