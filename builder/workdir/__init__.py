"""The work directory of a build, and its progress.

    directory  a directory that is one build's alone
    stage      a result, and the inputs that it was made from
    reuse      what is taken from before, what is made again, and because of which change
    sources    which source code a function runs
    files      tensors and plain values in files
    claim      the use of a directory by one process alone
    faults     where in a user's own code an exception was raised
    log        what a build says, on stderr and in files
    versions   those that results depend on
    clock      how long stages took, those of earlier runs included, and the memory they needed
    memory     whether the process keeps freed memory
    progress   a bar on a terminal, a line every ten seconds elsewhere
    seeds      one seed for all random numbers
"""
