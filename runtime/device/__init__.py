"""Measurements of this device: tables, their cache, and the processes that measure.

    latency_table  LatencyTable: seconds per variant, from measured compositions
    memory_table   MemoryTable: bytes per selection, from measured processes or from the manifest alone
    cache          DeviceCache: measurements on disk
    child          a function call in a fresh process

Nothing here runs a network.
"""
