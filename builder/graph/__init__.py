"""The teacher as a graph.

trace      a network -> an fx graph without in-place operations, every node knowing its shape
segments   that graph -> a DAG of segments: blocks (one tensor in, one out) and the trunk between them
dominators which nodes every path must pass
channels   which channels depend on each other, and which must stay
rules      how channels travel through each operation
"""
