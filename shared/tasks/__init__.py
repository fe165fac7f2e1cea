"""The applications: what a network's outputs mean, and how right they are.

    task            Task and Meter: what every application has
    trivial         Trivial: an answer that never looks at the input
    classification  image classification, and action recognition
    segmentation    semantic segmentation
    detection       object detection; average_precision: its metric
    anomaly         anomaly detection
    pose            pose estimation
    known           all of them by name

Both halves read this: the builder measures what it made, a device checks the promise and prints results.
"""
