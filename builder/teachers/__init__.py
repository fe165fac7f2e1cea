"""Teachers: how the networks of the built-in recipes are trained where no weights are given.

    training        epochs that go on where an interrupted run ended; the ordinary training
    stage           trains the recipe's teacher, once
    classification  cross entropy: images and clips
    segmentation    cross entropy of every pixel
    pose            coordinates and heat maps
    ganomaly        GANomaly's adversarial training
    ordinal         self-training of scores for frames that nobody has labelled
    first_look      the first of these scores
    detection       detectors by their own losses
    pooling         how detectors look into regions meanwhile
    yolo            the loss of YOLOv3
"""
