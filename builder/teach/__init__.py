"""How teachers are trained where no weights are given.

    settings        how long and how fast, where, from which seed
    fit             epochs that go on where an interrupted run ended; the ordinary training
    classification  cross entropy: images and clips
    segmentation    cross entropy of every pixel
    detection       losses that networks bring, and those of torchvision's detectors
    region_pooling  how these look into regions meanwhile
    pose            coordinates and heat maps
"""
