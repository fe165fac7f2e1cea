"""Anomaly detection.

    networks            GANomaly, and ordinal regression
    ganomaly_training   GANomaly's adversarial training
    ordinal_training    self-training of scores for frames that nobody has labelled
    first_look          the first of these scores
    anomalies           trousers, and what is none
    watched             a place watched by a camera: passers-by, and intruders
"""
