"""The teacher as a graph.

prepare    the user's network -> a copy in plain modules: no hooks, no wrappers, no shared weights
  copies     copying networks that do not want to be copied
  attention  multi-head attention in plain operators
trace      that copy -> an fx graph without in-place operations, every node knowing its shape
  proxies, stand_ins, state, refusals   what the network's code gets instead of tensors while it is traced
  opaque     modules that are kept whole
  functional in-place operations replaced
  canonical  one way to write what networks write in many
values     what is known of a node's value
channels   which channels depend on each other, and which must stay
  analysis   every node's rule applied once, in order
  rules, reducing, mixing, moving, parts   how channels travel through each operation
cuts       what a user says about single modules
segments   the graph -> a DAG of segments: blocks (one tensor in, one out) and the trunk between them
  dominators which nodes every path must pass
fold       batch normalisation folded into the layer before it
"""
