"""Measuring variants and selections.

    profiler    BlockProfiler: evaluates every variant, and whole selections
    teacher     the teacher and its labels, judged before anything is distilled
    recording   activations of the test set, recorded at one position of the network
    recheck     the teacher on the first batches, judged once more when it is packed
    frontier    selections on the frontier of size and distortion
    predictor   from the distortions of variants to the accuracy of a whole selection
    tables      Profile: the results
"""
