"""The teacher as a graph.

    tracing/     the user's network -> an fx graph without in-place operations, every node knowing its shape
    values       what is known of a node's value; shapes: found on the meta device; decisions: where data decide
    channels/    which channels depend on each other, and which must stay
    cuts         what a user says about single modules
    layers       kinds of layers with weights
    segments     the graph -> a DAG of segments: blocks (one tensor in, one tensor out) and the trunk between them
    dominators   which nodes every path must pass
    fold         batch normalisation folded into the layer before it
    run          segments in order, and the networks that are put together of them
    resources    parameters, bytes, floating-point operations, activations
    torchscript  what torch has of TorchScript without types, with types
"""
