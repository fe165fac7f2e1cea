"""Distillation: every descendant block is trained to imitate its original.

    retrainer        BlockRetrainer: both steps, the better result of each descendant, resumable
    reconstruction   least-squares reconstruction of the layers that read pruned channels
    gradient         all descendants of all blocks trained in one pass over the batches
    paths            the inputs of blocks: the teacher's activations, and those of compositions of descendants
"""
