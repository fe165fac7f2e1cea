"""The bundle: all that a device needs, in one file.

    packing   pack: segments, tables and the self-test into a bundle
    export    segments as TorchScript archives, split into program and tensors
"""
