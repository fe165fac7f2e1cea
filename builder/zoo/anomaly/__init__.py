"""Anomaly detection.

    networks            GANomaly, and ordinal regression
    ganomaly_training   GANomaly's adversarial training
    ordinal_training    self-training of scores on frames without labels
    first_look          the initial scores of that training
    anomalies           trousers as normal images, other or damaged garments as abnormal ones
    watched             a place watched by a camera: passers-by, and intruders
"""
