"""The work directory of a build, and its progress.

    directory  a directory that is one build's alone
    stage      a result, and the inputs that it was made from
    sources    which source code a function runs
    files      tensors and plain values in files
    claim      the use of a directory by one process alone
    clock      how long stages took, those of earlier runs included
    progress   a bar on a terminal, a line every ten seconds elsewhere
    seeds      one seed for all random numbers
"""
