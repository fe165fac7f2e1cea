"""The bundle: all that a device needs, in one file.

    packing   pack: segments, tables and the self-test into a bundle
    samples   which test images the self-test has, in which form, and how many
    export    segments as TorchScript archives, split into program and tensors
"""
