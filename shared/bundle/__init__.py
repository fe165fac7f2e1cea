"""The ``.lgb`` bundle: one file with a network of interchangeable blocks. ``FORMAT.md`` specifies it.

    format     the header, versions and bounds
    manifest   Manifest: the description of the network
    specs      what its tables are made of: TensorSpec, InputSpec
    self_test  SelfTest: samples with expected outputs
    schema     dataclasses <-> plain values, checked
    encoding   msgpack: deterministic encoding, strict decoding
    blobs      zstd and byte planes
    tensors    storages and sample tensors as blobs
    archive    TorchScript archives split into programs and tensors, and joined
    canonical  programs with names that do not depend on where and when they were made
    writer     write_bundle
    reader     BundleReader
"""
