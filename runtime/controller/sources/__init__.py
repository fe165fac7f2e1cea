"""Where budgets come from, one file each.

    source       Source: what all have in common; Fixed, and Tightest of several
    free_memory  FreeMemory: what the machine or the control group has left; SharedMemory: for several networks
    processor    Processor: load, quota and frequency of the cores
    schedule     Schedule: budgets by the clock, from a CSV file
    callback     Callback: budgets from a function, which may raise or hang
    signals      SignalSteps: a Unix signal steps through budgets
"""
