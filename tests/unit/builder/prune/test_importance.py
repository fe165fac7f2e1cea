"""Importance is what its formula says, of the weights that go with a channel and of no others."""

import numpy as np
import pytest
import torch
import torch.nn as nn
from torch.profiler import ProfilerActivity, profile

from legodnn.builder.graph.channels.analysis import analyse
from legodnn.builder.graph.tracing.trace import trace
from legodnn.builder.prune import importance
from legodnn.builder.prune.importance import l2, throughput
from tests.networks import conv, images


def analysed(*layers):
    torch.manual_seed(0)
    block = trace(nn.Sequential(*layers).eval(), [images()])
    with torch.no_grad():
        for parameter in block.parameters():
            parameter.copy_(torch.randn(parameter.shape))
    channels = analyse(block)
    [group] = [found for found in channels.groups() if len(found.prunable)]
    return channels, group, {name: value.detach().double() for name, value in block.named_parameters()}


def squares(value, axis):
    return value.movedim(axis, 0).flatten(1).square().sum(1).numpy() if value.dim() > 1 else value.square().numpy()


def test_l2_is_the_norm_of_all_weights_that_go_with_a_channel_and_of_no_bias():
    channels, group, weights = analysed(conv(3, 6), nn.BatchNorm2d(6), conv(6, 4))
    wanted = squares(weights["0.weight"], 0) + squares(weights["1.weight"], 0) + squares(weights["2.weight"], 1)
    assert np.allclose(l2(channels, group), np.sqrt(wanted))


def test_throughput_is_the_norm_of_what_makes_a_channel_times_that_of_what_reads_it():
    channels, group, weights = analysed(conv(3, 6), nn.BatchNorm2d(6), conv(6, 4))
    wanted = np.sqrt(squares(weights["0.weight"], 0)) * np.sqrt(squares(weights["2.weight"], 1))
    assert np.allclose(throughput(channels, group), wanted)


def test_of_channels_that_nothing_reads_throughput_is_the_norm_of_what_makes_them():
    channels, group, weights = analysed(conv(3, 6), nn.BatchNorm2d(6), conv(6, 4))
    with torch.no_grad():
        channels.module.get_submodule("2").weight.zero_()
    assert np.allclose(throughput(channels, group), np.sqrt(squares(weights["0.weight"], 0)))


@pytest.mark.parametrize("score", [l2, throughput])
def test_of_channels_that_go_together_all_weights_count(score):
    """A flattened channel is read in four places."""
    channels, group, weights = analysed(conv(3, 4), nn.AdaptiveAvgPool2d(2), nn.Flatten(), nn.Linear(16, 5))
    read = squares(weights["3.weight"], 1).reshape(4, 4).sum(1)
    made = squares(weights["0.weight"], 0)
    assert np.allclose(score(channels, group), np.sqrt(made + read if score is l2 else made * read))


@pytest.mark.parametrize("at_once", [1, 30, 100, 110, 1 << 20])
def test_scores_are_the_same_in_pieces_of_any_size(at_once, monkeypatch):
    channels, group, _ = analysed(conv(3, 6), nn.BatchNorm2d(6), conv(6, 4))
    wanted = l2(channels, group)
    monkeypatch.setattr(importance, "SUMMED_AT_ONCE", at_once)
    assert np.allclose(l2(channels, group), wanted, rtol=1e-12)


def test_large_weights_are_summed_without_a_copy_of_the_whole_in_double_precision():
    channels, group, _ = analysed(conv(3, 6), nn.BatchNorm2d(6), conv(6, 4))
    layer = channels.module.get_submodule("2")
    layer.weight = nn.Parameter(torch.full((4, 6, 3, 3), 1e-4))
    with torch.no_grad():
        layer.weight[:, 0] = 1e4
    with_large = np.square(throughput(channels, group))
    assert with_large[0] / with_large[1:].max() > 1e12


def test_the_squares_of_large_weights_take_a_few_mebibytes_at_once():
    channels, group, _ = analysed(conv(3, 512, 1), conv(512, 1024))  # 36 MiB in double precision
    with profile(activities=[ProfilerActivity.CPU], profile_memory=True) as watched:
        l2(channels, group)
    events = watched.profiler.kineto_results.events()
    steps = sorted((e.start_ns(), e.nbytes()) for e in events if e.name() == "[memory]")
    assert int(np.cumsum([size for _, size in steps]).max()) < 24 * 1024**2
