"""Distillation: every descendant block learns to do what the original block does.

    error        how far a block's answer is from the original's
    capture      values inside a block while it runs
    closed_form  layers behind pruned channels, solved by least squares
    paths        what blocks see: the teacher's activations, and those of networks made of descendants
    gradient     all descendants of all blocks trained in one pass over the teacher's batches
    retrainer    BlockRetrainer: both steps, the better result kept, resumable
"""
