"""Which channels of a traced graph depend on each other, and which are not prunable.

map        the result, which rules write to
analysis   every node's rule applied once, in order
rules      layers, and operations that do not move channels; `channel_rule` registers a user's own rules
reducing   operations along axes: normalisations, softmax, reductions
mixing     operations on several tensors: sums, products, contractions, concatenation
moving     operations that move, merge, repeat or rearrange axes
parts      operations that split or index a tensor
"""
