"""Parts that several applications share.

    layers          smaller pieces of networks
    resnet          ResNet-18's stages and backbone
    fashion_mnist   loaders of the real Fashion-MNIST from a folder of IDX files
    garments        its garments cut out, in three splits that have nothing in common
    scenes          several garments on a ground: masks and boxes
"""
