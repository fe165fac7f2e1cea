"""The applications: the meaning of outputs, and their metrics.

    task            Task, Meter, Part: the base classes
    chance          Chance: the chance level, a constant answer's metrics
    ranking         areas under curves of scores
    judgement       Judgement: all figures of an evaluation, with their chance levels
    classification  image classification, and action recognition
    segmentation    semantic segmentation
    detection       object detection; average_precision: its metric
    anomaly         anomaly detection
    pose            pose estimation
    samples         whether the labels of samples are compatible with an accuracy
    known           all applications by name
    prediction      the error to expect of a predicted accuracy

The builder measures networks with them, the runtime evaluates and prints results.
"""
