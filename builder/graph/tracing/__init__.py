"""From the user's network to an fx graph that can be cut anywhere.

prepare    the network -> a copy in plain modules: no hooks, no wrappers, no shared weights
  copies     deep copies of networks that hold what cannot be copied
  attention  multi-head attention in plain operators
trace      that copy -> a graph without in-place operations, every node knowing its shape
  proxies    what the network's code computes with while it is followed
  twins      the second batch size, on tensors without numbers
  mutations  which operations change their input
  stand_ins  what stands in for parts of Python and torch meanwhile
  state      networks that change themselves while they run
  refusals   networks that cannot be taken, each with one sentence
opaque     modules that are kept whole
functional in-place operations replaced
canonical  one way to write what networks write in many
"""
