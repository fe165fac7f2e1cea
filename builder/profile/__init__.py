"""What variants do to the network.

    profiler    BlockProfiler: judges every variant, and whole selections
    recording   the test set on its way through the network
    frontier    selections that trade size for accuracy as well as any
    predictor   from the distortions of variants to the accuracy of a whole selection
    tables      Profile: what comes of all that
"""
