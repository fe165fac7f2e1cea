"""Measuring what a network's variants take on this device.

    latency    LatencyEstimator: seconds, from compositions timed beside each other
    memory     MemoryEstimator: bytes, from selections run in processes of their own
    estimator  what both have in common
"""
