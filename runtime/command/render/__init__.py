"""Rendering: answers drawn into the pictures they are about, one file for every frame.

    renderer   Renderer: the file for a frame, and which of the drawings belongs into it
    ground     what is drawn on: the frame's image, or what the network saw, in a size at which labels can be read
    colours    the colour of every class

    objects    boxes with labels and scores
    masks      classes, pixel by pixel
    poses      keypoints, and what joins them
    scores     how unusual a frame is
"""
