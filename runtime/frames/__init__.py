"""Frames: where they come from, what their bytes mean, and which of them are taken when.

    source     FrameSource: what frames come from; Frame: one on its way
    stream     raw frames from a file, a pipe or a camera
    folder     image files, and clips in folders of their own
    window     clips from a window over a stream
    samples    the images a bundle carries
    opening    the right one of these for `--input`

    coding     raw bytes to the network's input
    pixels     raw pixels as ffmpeg and cameras write them, to images

    pacing     every frame, those that are due, or always the latest

Images are made to fit a network by `legodnn.shared.vision.preprocess`. Bytes are turned into tensors when a frame is
taken, so that frames nobody takes cost next to nothing.
"""
