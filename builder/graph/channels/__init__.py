"""Which channels of a traced graph depend on each other, and which must stay.

map        the result, and the workbench rules write to
analysis   every node's rule applied once, in order
rules      layers, and operations that leave channels where they are; `channel_rule` for rules of one's own
reducing   operations that look along axes: normalisations, softmax, reductions
mixing     operations on several tensors: sums, products, contractions, concatenation
moving     operations that move, merge, repeat or rearrange axes
parts      operations that take a tensor to pieces or pick from it
"""
