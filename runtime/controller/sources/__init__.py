"""Where budgets come from, one file each.

    source       Source: the base class; Fixed; Tightest of several
    free_memory  FreeMemory: memory left on the machine or in the control group; SharedMemory: for several networks
    processor    Processor: load, quota and frequency of the cores
    schedule     Schedule: budgets by the clock, from a CSV file
    callback     Callback: budgets from a function, with a timeout
    signals      SignalSteps: a Unix signal selects the next budget
"""
