"""The teacher as a graph.

    tracing/         the user's network -> an fx graph without in-place operations, every node knowing its shape
    values           the metadata of nodes' values; shapes: found on the meta device
    data_dependence  where selections depend on the data, and what networks are compared by
    channels/        which channels depend on each other, and which are not prunable
    cuts             a user's constraints on single modules
    layers           kinds of layers with weights
    segments         the graph -> a DAG of segments: blocks (one tensor in, one tensor out) and the trunk between them
    dominators       which nodes every path must pass
    fold             batch normalisation folded into the layer before it
    run              segments run in order, and the networks composed of them
    strided          strided 1x1 convolutions during training, around a fault of oneDNN
    stored           weights as a bundle stores them
    identity         what a network computes, as short texts that change when it changes
    resources        parameters, bytes, floating-point operations, activations
    torchscript      typed names of what torch leaves untyped
"""
