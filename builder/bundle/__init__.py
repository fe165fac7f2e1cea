"""Everything a device needs, in one file.

    packing   pack: segments, tables and the self-test into a bundle
    export    segments as TorchScript archives, taken apart into program and tensors
"""
