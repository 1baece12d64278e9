"""Statistics and turns of the benchmark; no time that was measured decides anything here."""

import pytest
import torch

from vita_clip_hf.benchmark.scaling import growth_exponent
from vita_clip_hf.benchmark.timing import Spread, Timings, Work, _repeats, out_of_memory_message, time_in_turns


def test_a_spread_has_median_minimum_and_quartiles():
    assert Spread.of([5.0, 1.0, 2.0, 4.0, 3.0]) == Spread(median=3, minimum=1, q1=2, q3=4, rounds=5)


def test_a_spread_of_nothing_is_an_error():
    with pytest.raises(ValueError, match="at least one"):
        Spread.of([])


def test_a_ratio_is_taken_round_by_round():
    # The machine was ten times slower in the second round: the ratio does not see it.
    timings = Timings({"a": [1.0, 10.0, 1.0], "b": [2.0, 20.0, 2.0]})
    assert timings.ratio("a", "b") == Spread(0.5, 0.5, 0.5, 0.5, 3)
    assert timings.ratio("a", "absent") is None


def test_contenders_take_turns_after_their_warm_up():
    order: list[str] = []
    # With something to do before each call, a work is never repeated within a sample.
    works = [Work(name, lambda name=name: order.append(name), before=lambda: None) for name in "abc"]
    timings = time_in_turns(works, rounds=3, warmup=1, device="cpu")
    assert "".join(order) == "aabbcc" + 3 * "abc"
    assert {name: len(seconds) for name, seconds in timings.seconds.items()} == {"a": 3, "b": 3, "c": 3}


def test_a_short_call_is_repeated_until_a_clock_can_tell():
    assert _repeats(0.001) == 10
    assert _repeats(5.0) == 1


def test_who_runs_out_of_memory_leaves_the_others_be():
    def fail() -> None:
        raise torch.OutOfMemoryError("CUDA out of memory.")

    timings = time_in_turns([Work("large", fail), Work("small", lambda: None)], rounds=2, warmup=0, device="cpu")
    assert timings.failures == {"large": "out of memory"}
    assert len(timings.seconds["small"]) == 2
    assert timings.time("large") is None


def test_running_out_of_memory_in_a_later_round_takes_the_row_away():
    calls = iter(range(10))

    def fail_later() -> None:
        if next(calls) == 2:
            raise RuntimeError("DefaultCPUAllocator: not enough memory: you tried to allocate 8 bytes.")

    timings = time_in_turns([Work("grows", fail_later, before=lambda: None)], rounds=4, warmup=0, device="cpu")
    assert timings.failures == {"grows": "out of memory"}
    assert timings.time("grows") is None


def test_any_other_error_is_raised():
    with pytest.raises(RuntimeError, match="shapes"):
        out_of_memory_message(RuntimeError("shapes do not match"))


def test_growth_is_the_exponent_of_the_cost():
    units = [4.0, 8.0, 16.0]
    assert growth_exponent(units, [3 * n for n in units]) == pytest.approx(1)
    assert growth_exponent(units, [3 * n**2 for n in units]) == pytest.approx(2)
    assert growth_exponent([4.0], [3.0]) is None
