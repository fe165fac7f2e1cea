"""Frames: sources, conversion and pacing.

    source     FrameSource: the base class; Frame: one frame, loaded lazily
    stream     raw frames from a file, a pipe or a camera
    folder     image files, and clips in folders of their own
    window     clips from a window over a stream
    samples    the images a bundle carries
    opening    the source for a value of `--input`

    coding     raw bytes -> the network's input
    pixels     raw pixels as ffmpeg and cameras write them -> images

    pacing     which frames are processed: all, those due, or the latest

Images are made to fit a network by `legodnn.shared.vision.preprocess`. Bytes are converted when a frame is
processed, so that dropped frames cost little.
"""
