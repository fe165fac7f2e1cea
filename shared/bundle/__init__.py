"""The ``.lgb`` bundle.

    offset  size  content
    0       8     magic: 89 4C 47 42 0D 0A 1A 0A  (a text-mode copy or a cut at the first newline breaks it)
    8       2     major version, little-endian as everything here; an unknown one is refused
    10      2     minor version; newer ones stay readable
    12      8     length m of the manifest, at most 64 MiB
    20      32    SHA-256 of bytes 0..20 followed by the manifest
    52      m     the manifest: one msgpack map, keys sorted (its content: `legodnn.shared.bundle.manifest.Manifest`)
    52+m    ...   blobs, one after the other in the manifest's order, without gap or overlap, to the end of the file

Minor version 1: a program's classes and functions, but for torch's own, are in the module ``__torch__.program``; they
were named after the source file they came from before.

A blob is a segment's program, a segment's tensors, or a sample tensor. Programs are the files of a TorchScript archive
except its tensors; tensors are raw storages, the bytes of equal significance gathered in planes, optionally as half
precision. Blobs are zstd frames or raw, each with its length before and after packing and its SHA-256.

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
