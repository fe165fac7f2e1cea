"""What is known of this device, and how it is asked.

    latency_table  LatencyTable: seconds per variant, from measured compositions
    memory_table   MemoryTable: bytes per selection, from measured processes, or by the bundle's tables alone
    cache          DeviceCache: what was measured here, kept between runs
    allocator      giving memory back to the system
    footprint      how much memory this process holds
    child          a fresh process that is asked something

Nothing here runs a network.
"""
