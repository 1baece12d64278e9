"""Turns, operations and equality with the equations; no time that was measured decides anything here."""

import pytest
import torch
import torch.nn.functional as F  # noqa: N812

from benchmarks.cases import peak_in_own_process, prepare
from benchmarks.measure import MATRIX_PRODUCT, Point, count_operations, matrix_product, measure_points, time_in_turns
from benchmarks.sizes import SIZES, Settings

TINY = Settings(size="tiny", batch=1, frames=2, classes=3, contexts=2)


def test_a_matrix_product_is_two_operations_per_multiplication():
    left, right = torch.randn(3, 5), torch.randn(5, 7)
    gflop, result = count_operations(lambda: left @ right)
    assert gflop * 1e9 == 2 * 3 * 5 * 7
    torch.testing.assert_close(result, left @ right)


def test_attention_counts_on_the_cpu_too():
    query, key = torch.randn(1, 2, 6, 16), torch.randn(1, 2, 8, 16)
    gflop, _ = count_operations(lambda: F.scaled_dot_product_attention(query, key, key))
    assert gflop * 1e9 == 2 * (2 * 2 * 6 * 8 * 16)  # scores and weighted values, 2 heads


def test_the_yardstick_states_its_own_operations():
    call, gflop = matrix_product(TINY)
    assert count_operations(call)[0] == gflop


def test_the_operations_of_clips_vision_tower_are_those_of_the_formula():
    patch, image, width, layers, projection, _ = SIZES["tiny"]
    patches = (image // patch) ** 2
    tokens = 1 + patches
    embedding = 2 * patches * 3 * patch**2 * width
    layer = 2 * 12 * tokens * width**2 + 2 * 2 * tokens**2 * width  # projections and MLP; scores and values
    by_hand = TINY.frames * (embedding + layers * layer + 2 * width * projection)
    assert count_operations(prepare("forward", "clip", TINY))[0] * 1e9 == by_hand


def test_contenders_take_turns_and_the_equations_take_part_in_a_third_of_the_rounds():
    order: list[str] = []
    calls = {name: lambda name=name: order.append(name[0]) for name in ("clip 1", "plain 1", "vita 1")}
    seconds = time_in_turns(calls, rounds=6)
    turns = [first for first, after in zip(order, [*order[1:], ""], strict=True) if first != after]
    assert "".join(turns) == 2 * "cpv" + 4 * "cv"
    assert {name: len(times) for name, times in seconds.items()} == {"clip 1": 6, "plain 1": 2, "vita 1": 6}


@pytest.mark.parametrize("case", ["forward", "text", "train"])
def test_vita_equals_the_equations_with_fewer_operations(case):
    names = ["plain", "vita"] if case == "train" else ["clip", "xclip", "vita", "plain"]
    rows = measure_points([Point(case, name, TINY) for name in names], rounds=1, memory=False)
    by_name = {row["contender"]: row for row in rows}
    assert list(by_name) == [*names, MATRIX_PRODUCT]
    assert by_name["vita"]["difference"] < 1e-5
    assert "note" not in by_name["vita"]
    assert by_name["vita"]["gflop"] < by_name["plain"]["gflop"]
    assert all(len(row["seconds"]) == 1 for row in rows)


@pytest.mark.parametrize("contender", ["vita", "vita-bf16", "vita-checkpoint"])
def test_training_in_bfloat16_is_autocast(contender):
    settings = Settings(**{**vars(TINY), "dtype": "bfloat16"})
    assert prepare("train", contender, settings)().isfinite()
    assert prepare("forward", "vita", settings)().dtype == torch.bfloat16


@pytest.mark.parametrize("case", ["forward", "train"])
def test_the_switch_for_cpus_changes_no_result(case):
    rows = measure_points([Point(case, name, TINY) for name in ("plain", "vita-cpu")], rounds=1, memory=False)
    assert rows[1]["difference"] < 1e-5


def test_held_class_features_are_those_that_are_encoded():
    torch.testing.assert_close(prepare("text", "vita-held", TINY)(), prepare("text", "vita", TINY)())


def test_growth_has_a_row_for_each_point():
    points = [Point("forward", "vita", Settings(**{**vars(TINY), "batch": batch}), batch) for batch in (1, 4)]
    one, four = measure_points(points, rounds=1, memory=False)[:2]
    assert (one["units"], four["units"]) == (1, 4)
    assert 0.8 < four["gflop"] / (4 * one["gflop"]) <= 1  # global prompts become keys and values once


def test_memory_is_measured_in_a_process_of_its_own():
    assert peak_in_own_process("train", "vita", TINY) > 49_408 * 64 * 4  # the token embedding alone


def test_errors_name_the_contender():
    with pytest.raises(ValueError, match="Unknown contender 'blip'; expected one of clip"):
        prepare("forward", "blip", TINY)
    with pytest.raises(ValueError, match="CLIPModel has no prompts to learn"):
        prepare("train", "clip", TINY)
