"""How teachers are trained where no weights are given.

    settings        epochs, rate, device, seed
    fit             epochs that go on where an interrupted run ended; the ordinary training
    classification  cross entropy: images and clips
    segmentation    cross entropy of every pixel
    detection       losses that networks bring, and those of torchvision's detectors
    region_pooling  their RoIAlign while they are trained on a CPU
    pose            coordinates and heat maps
"""
