"""What can compute a composition, one file each.

    known      ENGINES: what each of them does to programs; plain and optimized, which are torch's own, in full
    prepacked  programs in oneDNN's fused operators with weights reordered beforehand, where torch has them
    xnnpack    the same with XNNPACK's
    compiled   programs of which oneDNN compiles whole stretches, where torch has that
    graphs     what prepacked and xnnpack read in the graphs of programs
"""
