"""Rendering: answers drawn into pictures, one file per frame.

    renderer   Renderer: writes the file of a frame with the drawing of its application
    ground     Ground: the picture to draw on, in a size at which labels are legible
    colours    the colour of every class

    objects    boxes with labels and scores
    masks      classes, pixel by pixel
    poses      keypoints and the lines between them
    scores     anomaly scores
"""
