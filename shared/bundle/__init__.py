"""The ``.lgb`` bundle: one file with a network of interchangeable blocks. ``FORMAT.md`` specifies it.

    format     its first bytes, its versions, what is bounded
    manifest   Manifest: what a bundle says about its network
    schema     dataclasses from plain values and back, checked
    encoding   msgpack, deterministic on the way out and strict on the way in
    blobs      zstd and byte planes
    tensors    storages and sample tensors as blobs
    archive    TorchScript archives taken apart and put together
    canonical  programs without what depends on where and when they were made
    writer     write_bundle
    reader     BundleReader
"""
