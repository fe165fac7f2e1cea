"""Distillation: every descendant block is trained to imitate its original.

    retrainer        BlockRetrainer: both steps, the better result of each descendant, resumable
    results          what was kept of every descendant, or why it was left out
    calibration      the reconstruction of one sparsity's descendants, block after block
    reconstruction   least-squares reconstruction of the layers that read pruned channels
    gradient         all descendants of one sparsity trained together
    paths            the inputs of blocks: the teacher's activations, and those of compositions of descendants
"""
