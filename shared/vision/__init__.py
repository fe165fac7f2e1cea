"""Images and clips: reading, fitting and drawing, the same in builder and runtime.

    images      image files as pixels
    video       frames of a video file
    preprocess  images -> inputs of a network: channels, size, normalisation
    layouts     the meaning of inputs' dimensions
    clips       clips of frames
    pixels      samples as pixels <-> inputs of a network
    drawing     boxes, masks, keypoints and captions drawn into images
"""
