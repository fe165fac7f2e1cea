"""From the user's network to an fx graph that can be cut at any value.

prepare    the network -> a copy in plain modules: no hooks, no wrappers, no shared weights
  copies     deep copies of networks that hold what cannot be copied
  attention  multi-head attention in plain operators
trace      that copy -> a graph without in-place operations, every node knowing its shape
  proxies    what stands for values while the network is traced
  twins      the second batch size, on the meta device
  mutations  which operations change their input
  stand_ins  what replaces parts of Python and torch meanwhile
  state      networks that change themselves while they run
  refusals   networks that are not supported, each with one sentence
opaque     modules that are kept whole
functional in-place operations replaced
canonical  one form for each computation
"""
