"""Measuring latency and memory of a network's variants on this device.

    latency    LatencyEstimator: seconds, from compositions timed beside each other
    memory     MemoryEstimator: bytes, from selections run in processes of their own
    estimator  Estimator: their base class
"""
