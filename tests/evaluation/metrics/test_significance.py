"""Intervals and tests against formulas and against plain loops."""

from math import comb

import numpy as np
import pytest

from vita_clip_hf.evaluation.metrics import bootstrap_interval, mcnemar, paired_bootstrap, paired_t_interval


def test_the_interval_of_an_accuracy_is_that_of_the_normal_approximation():
    values = [1] * 700 + [0] * 300
    low, high = bootstrap_interval(values)
    error = 1.96 * (0.7 * 0.3 / 1000) ** 0.5
    assert low == pytest.approx(0.7 - error, abs=0.004)
    assert high == pytest.approx(0.7 + error, abs=0.004)
    wide = bootstrap_interval(values, confidence=0.99)
    assert wide[0] < low
    assert wide[1] > high


def test_the_same_seed_gives_the_same_interval_whatever_the_chunks(monkeypatch):
    values = np.random.default_rng(0).normal(size=50)
    expected = bootstrap_interval(values, resamples=300)
    assert bootstrap_interval(values, resamples=300) == expected
    assert bootstrap_interval(values, resamples=300, seed=1) != expected
    monkeypatch.setattr("vita_clip_hf.evaluation.metrics.significance.CHUNK", 700)
    assert bootstrap_interval(values, resamples=300) == expected


def test_samples_are_drawn_together():
    """Two models that are right on the same samples but one differ by that one, however uncertain each is."""
    first = [1, 0] * 100
    second = [1, 1, *first[2:]]
    found = paired_bootstrap(first, second)
    assert found.difference == pytest.approx(0.005)
    assert found.low == 0.0
    assert found.high < 0.02
    assert found.p_value > 0.3  # a resample without that sample has no difference
    same = paired_bootstrap(first, first)
    assert (same.difference, same.low, same.high, same.p_value) == (0.0, 0.0, 0.0, 1.0)


def test_a_clear_difference_has_a_small_p_value_of_its_sign():
    first, second = [0] * 60 + [1] * 40, [1] * 80 + [0] * 20
    found = paired_bootstrap(first, second)
    assert found.difference == pytest.approx(0.4)
    assert found.low > 0.2
    assert found.p_value < 0.01
    assert paired_bootstrap(second, first).difference == pytest.approx(-0.4)


@pytest.mark.parametrize(
    ("degrees", "confidence", "bound"),
    [(1, 0.95, 12.7062), (2, 0.95, 4.30265), (3, 0.95, 3.18245), (4, 0.99, 4.60409), (9, 0.9, 1.83311)],
)
def test_an_interval_over_few_pairs_is_that_of_the_printed_table_of_t(degrees, confidence, bound):
    first = np.random.default_rng(degrees).normal(size=degrees + 1)
    second = first + np.arange(degrees + 1)
    low, high = paired_t_interval(first, second, confidence)
    spread = np.arange(degrees + 1).std(ddof=1) / (degrees + 1) ** 0.5
    assert (high + low) / 2 == pytest.approx(degrees / 2)
    assert (high - low) / 2 == pytest.approx(bound * spread, rel=1e-5)


def test_an_interval_over_few_pairs_holds_the_truth_as_often_as_it_says():
    generator = np.random.default_rng(0)
    held = [low <= 0.5 <= high for low, high in (draw_three_pairs(generator) for _ in range(2_000))]
    assert np.mean(held) == pytest.approx(0.95, abs=0.015)


def draw_three_pairs(generator: np.random.Generator) -> tuple[float, float]:
    first = generator.normal(size=3)
    return paired_t_interval(first, first + generator.normal(0.5, 0.2, size=3))


@pytest.mark.parametrize(("only_first", "only_second"), [(0, 0), (1, 0), (3, 9), (9, 3), (7, 7), (600, 700)])
def test_mcnemar_is_the_binomial_test_of_those_that_one_alone_has_right(only_first, only_second):
    first = [1] * only_first + [0] * only_second + [1, 0]
    second = [0] * only_first + [1] * only_second + [1, 0]
    found = mcnemar(first, second)
    total = only_first + only_second
    tail = sum(comb(total, heads) for heads in range(min(only_first, only_second) + 1))
    assert (found.only_first, found.only_second) == (only_first, only_second)
    assert found.p_value == pytest.approx(min(1.0, 2 * tail / 2**total))


def test_mcnemar_of_many_samples_is_finite_and_quick():
    first = np.zeros(30_000, dtype=bool)
    second = np.arange(30_000) % 2 == 0
    found = mcnemar(first, second)
    assert found.p_value == 0.0
    assert mcnemar(~second, second).p_value == pytest.approx(1.0)


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: bootstrap_interval([]), "at least one value"),
        (lambda: bootstrap_interval([1.0, float("nan")]), "NaN or infinite, first at 1"),
        (lambda: bootstrap_interval([1.0], confidence=1.5), "confidence must be between 0 and 1"),
        (lambda: bootstrap_interval([1.0], resamples=0), "resamples must be at least 1"),
        (lambda: paired_bootstrap([1, 0], [1]), "as many values of both"),
        (lambda: paired_t_interval([1], [1]), "at least two of them, found 1"),
        (lambda: paired_t_interval([1, 2], [1, 2], confidence=1), "confidence must be between 0 and 1"),
        (lambda: paired_t_interval([1, 2], [1]), "as many values of both"),
        (lambda: mcnemar([True], [True, False]), "as many values of both"),
        (lambda: mcnemar([0.7], [1]), "first_right must hold whether"),
        (lambda: mcnemar([1], [float("nan")]), "NaN or infinite"),
    ],
)
def test_input_that_makes_no_sense_is_an_error(call, message):
    with pytest.raises(ValueError, match=message):
        call()
