"""The operators that programs in bundles may use: a bundle is data, so its programs only compute."""

from __future__ import annotations

from typing import Any, FrozenSet, Iterator, Mapping, Tuple

from legodnn.shared.errors import OperatorError

_COMPUTE = """
_convolution conv1d conv2d conv3d conv_transpose1d conv_transpose2d conv_transpose3d convolution linear addmm matmul mm
bmm baddbmm addbmm einsum batch_norm layer_norm group_norm instance_norm local_response_norm native_batch_norm
native_layer_norm native_group_norm relu relu_ relu6 relu6_ leaky_relu leaky_relu_ elu elu_ selu selu_ celu celu_ gelu
silu silu_ mish sigmoid sigmoid_ tanh tanh_ softplus hardswish hardswish_ hardsigmoid hardsigmoid_ hardtanh hardtanh_
hardshrink softshrink log_sigmoid threshold threshold_ prelu rrelu glu softmax log_softmax _softmax _log_softmax
dropout dropout_ feature_dropout alpha_dropout max_pool1d max_pool2d max_pool3d avg_pool1d avg_pool2d avg_pool3d
adaptive_avg_pool1d adaptive_avg_pool2d adaptive_avg_pool3d adaptive_max_pool1d adaptive_max_pool2d adaptive_max_pool3d
max_pool1d_with_indices max_pool2d_with_indices upsample_nearest1d upsample_nearest2d upsample_nearest3d
upsample_bilinear2d upsample_bicubic2d upsample_linear1d upsample_trilinear3d grid_sampler affine_grid_generator
pixel_shuffle pixel_unshuffle channel_shuffle pad constant_pad_nd reflection_pad1d reflection_pad2d replication_pad1d
replication_pad2d replication_pad3d add add_ sub sub_ rsub mul mul_ div div_ pow pow_ sqrt rsqrt exp log log2 log1p abs
neg floor ceil round sign sin cos erf square reciprocal clamp clamp_ clamp_min clamp_max minimum maximum max min mean
sum prod std var norm amax amin argmax argmin cumsum topk sort argsort where eq ne lt le gt ge logical_and logical_or
logical_not bitwise_and bitwise_or bitwise_not masked_fill masked_fill_ all any isnan isfinite isinf floor_divide
floordiv remainder fmod lerp addcmul addcdiv addcmul_ cat concat stack chunk split split_with_sizes tensor_split unbind
view view_as reshape reshape_as flatten unflatten squeeze unsqueeze permute transpose t contiguous expand expand_as
repeat repeat_interleave tile narrow select slice index gather scatter index_select flip roll movedim swapaxes unfold
fold im2col col2im tril triu diagonal clone detach to type_as float double half int bool size dim numel len item Int
Float Bool IntImplicit FloatImplicit ScalarImplicit zeros zeros_like ones ones_like empty empty_like full full_like
arange linspace eye scalar_tensor tensor meshgrid new_zeros new_ones new_full new_empty copy_ fill_ zero_
scaled_dot_product_attention _scaled_dot_product_attention _native_multi_head_attention _transformer_encoder_layer_fwd
embedding embedding_bag nonzero is_floating_point one_hot linalg_vector_norm linalg_norm normalize cosine_similarity
__getitem__ __contains__ __and__ __or__ __not__ __is__ __isnot__ format append warn is_autocast_enabled
is_autocast_cpu_enabled is_grad_enabled
""".split()

_STRUCTURE = """
Constant GetAttr CallMethod CallFunction ListConstruct ListUnpack TupleConstruct TupleUnpack TupleIndex TupleSlice
DictConstruct NumToTensor If Loop RaiseException unchecked_cast Uninitialized device dtype data type is_nested
requires_grad min max
""".split()

ALLOWED: FrozenSet[str] = frozenset([f"aten::{n}" for n in _COMPUTE] + [f"prim::{n}" for n in _STRUCTURE])
"""The allowed operators."""

_LOADING_CODE: Tuple[bytes, ...] = (b"__setstate__", b"__getstate__", b"__torch__.torch.classes")


def check_program(program: Mapping[str, bytes], what: str) -> None:
    """Refuse, before it is loaded, a program that would run code while loading. Raises `OperatorError`."""
    for path, content in program.items():
        for word in _LOADING_CODE:
            if word in content:
                raise OperatorError(f"{what}: its file {path} uses {word.decode()}, which runs while it is loaded")


def check_operators(module: Any, what: str) -> None:
    """Refuse a loaded module whose methods use anything outside `ALLOWED`. Raises `OperatorError`."""
    names = module._c._method_names() if hasattr(module._c, "_method_names") else ["forward"]
    if list(names) != ["forward"]:
        raise OperatorError(f"{what}: has methods beside 'forward'")
    for kind in _kinds(module.inlined_graph):
        if kind not in ALLOWED:
            raise OperatorError(f"{what}: uses the operator {kind}, which is not on the list of allowed ones")


def _kinds(graph: Any) -> Iterator[str]:
    for node in graph.nodes():
        yield node.kind()
        for block in node.blocks():
            yield from _kinds(block)
