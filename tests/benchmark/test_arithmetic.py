"""Operations counted against counts by hand."""

import pytest
import torch
import torch.nn.functional as F  # noqa: N812
from torch.utils.flop_counter import FlopCounterMode
from vita_clip_hf.modeling import fused_linear_vita_clip as fused_linear
from vita_clip_hf.modeling.graphs_vita_clip import is_watched

from vita_clip_hf.benchmark.arithmetic import count_flops, matrix_product
from vita_clip_hf.benchmark.settings import BenchmarkSettings
from vita_clip_hf.benchmark.sizes import SIZES
from vita_clip_hf.benchmark.works import prepare_work


def test_a_matrix_product_is_two_operations_per_multiplication():
    left, right = torch.randn(3, 5), torch.randn(5, 7)
    flops, result = count_flops(lambda: left @ right)
    assert flops == 2 * 3 * 5 * 7
    torch.testing.assert_close(result, left @ right)


def test_a_product_added_in_place_counts():
    start, left, right = torch.randn(3, 7), torch.randn(3, 5), torch.randn(5, 7)
    assert count_flops(lambda: start.addmm_(left, right, alpha=2))[0] == 2 * 3 * 5 * 7


@pytest.mark.skipif(not fused_linear.is_supported(), reason="the processor has no products in bfloat16")
@torch.no_grad()
def test_a_linear_layer_that_adds_a_residual_counts():
    x, residual, layer = torch.randn(2, 3, 5), torch.randn(2, 3, 7), torch.nn.Linear(5, 7)
    x, residual, weight, bias = (tensor.to(torch.bfloat16) for tensor in (x, residual, layer.weight, layer.bias))
    for added in (None, residual):
        assert count_flops(lambda added=added: fused_linear.fused_linear(x, weight, bias, added))[0] == 2 * 6 * 5 * 7


def test_what_is_counted_is_what_runs_uncounted():
    """Checkpointing computes again as much as the shortcuts need, which is not what the plain way would."""
    assert count_flops(is_watched)[1] is False
    assert not is_watched()
    with FlopCounterMode(display=False):
        assert is_watched()  # others know torch's own operations alone


def test_attention_counts_on_the_cpu_too():
    query, key = torch.randn(1, 2, 6, 16), torch.randn(1, 2, 8, 16)
    flops, _ = count_flops(lambda: F.scaled_dot_product_attention(query, key, key))
    assert flops == 2 * (2 * 2 * 6 * 8 * 16)  # scores and weighted values, 2 heads


def test_the_yardstick_says_its_own_operations():
    work, flops = matrix_product("cpu", torch.float32, "tiny")
    assert count_flops(work.call)[0] == flops


def test_the_operations_of_clips_vision_tower_are_those_by_hand():
    size, frames = SIZES["tiny"], 3
    patches, width = (size.image // size.patch) ** 2, size.vision_width
    tokens = 1 + patches
    embedding = 2 * patches * 3 * size.patch**2 * width
    layer = 2 * 12 * tokens * width**2 + 2 * 2 * tokens**2 * width  # projections and MLP; scores and values
    by_hand = frames * (embedding + size.vision_layers * layer + 2 * width * size.projection)
    settings = BenchmarkSettings(model="tiny", batch=1, frames=frames, classes=2)
    assert count_flops(prepare_work("forward", "clip", settings, torch.float32).call)[0] == by_hand
