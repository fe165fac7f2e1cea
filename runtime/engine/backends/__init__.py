"""The engines that compute compositions, one file each.

    known      ENGINES: the passes of each; those of plain and optimized, which are torch's own
    prepacked  oneDNN's fused operators with weights reordered beforehand, where torch has them
    xnnpack    the same with XNNPACK's
    compiled   subgraphs compiled by oneDNN, where torch has that
    graphs     queries on graphs that prepacked and xnnpack share
"""
