"""Pixels: what both halves must read, fit and draw alike.

    images      image files as pixels
    video       frames of a video file
    preprocess  images made to fit a network: channels, size, normalisation
    clips       clips of frames, and the layouts of inputs
    drawing     boxes, masks, keypoints and captions drawn into images
"""
