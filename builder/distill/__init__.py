"""Distillation: every descendant block learns to do what the original block does.

    retrainer        BlockRetrainer: both steps, the better result kept, resumable
    reconstruction   layers behind pruned channels, solved by least squares
    gradient         all descendants of all blocks trained in one pass over the teacher's batches
    paths            what blocks see: the teacher's activations, and those of networks made of descendants
"""
