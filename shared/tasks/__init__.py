"""The applications: the meaning of outputs, and their metrics.

    task            Task, Meter: the base classes
    chance          Chance: the chance level, a constant answer's metrics
    classification  image classification, and action recognition
    segmentation    semantic segmentation
    detection       object detection; average_precision: its metric
    anomaly         anomaly detection
    pose            pose estimation
    samples         whether the labels of samples are compatible with an accuracy
    known           all applications by name

The builder measures networks with them, the runtime evaluates and prints results.
"""
