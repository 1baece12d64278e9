"""How far figures can be trusted: bootstrap intervals, and whether two models differ on the same samples."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

RESAMPLES = 2_000
CHUNK = 2**22  # draws held at once, which bounds memory


@dataclass(frozen=True)
class PairedDifference:
    """
    Args:
        difference: the mean of the second minus the mean of the first.
        low, high: the bounds of its bootstrap interval.
        p_value: of no difference, two-sided: twice the share of resamples in which the sign is not that of the whole,
            and 1 at most.
    """

    difference: float
    low: float
    high: float
    p_value: float


@dataclass(frozen=True)
class McNemar:
    """
    Args:
        only_first, only_second: samples that one of two models alone has right.
        p_value: of both being right equally often, two-sided and exact.
    """

    only_first: int
    only_second: int
    p_value: float


def bootstrap_interval(
    values: Sequence[float], confidence: float = 0.95, resamples: int = RESAMPLES, seed: int = 0
) -> tuple[float, float]:
    """
    The percentile bootstrap interval of a mean, such as an accuracy.

    Args:
        values: of each sample; for an accuracy 1 or `True` where the model is right.
        confidence: of the interval, between 0 and 1.
        resamples: draws of as many samples, with repetition.
        seed: of the draws.

    Returns:
        Lower and upper bound.

    Raises:
        ValueError: there are no values, one is not finite, or a setting makes no sense.
    """
    return _interval(_resampled_means(_as_numbers("values", values), resamples, seed), confidence)


def paired_bootstrap(
    first: Sequence[float],
    second: Sequence[float],
    confidence: float = 0.95,
    resamples: int = RESAMPLES,
    seed: int = 0,
) -> PairedDifference:
    """
    The difference of two models' means on the same samples, which are drawn together.

    Args:
        first, second: values of each sample, in the same order.
        confidence, resamples, seed: as for [`bootstrap_interval`].

    Raises:
        ValueError: as [`bootstrap_interval`], or the numbers of samples differ.
    """
    differences = _as_numbers("second", second) - _as_numbers("first", first, len(second))
    means = _resampled_means(differences, resamples, seed)
    # One more on each side: the samples themselves are a draw too, and a share of draws is never 0.
    against = min((means <= 0).sum(), (means >= 0).sum()) + 1
    low, high = _interval(means, confidence)
    return PairedDifference(float(differences.mean()), low, high, float(min(1.0, 2 * against / (resamples + 1))))


def paired_t_interval(
    first: Sequence[float], second: Sequence[float], confidence: float = 0.95
) -> tuple[float, float]:
    """
    The interval of Student's t for the mean of second - first, over few pairs, such as trainings of the same seeds. A
    bootstrap of three values is too narrow: it never leaves their range.

    Args:
        first, second: values of each pair, in the same order; at least two.
        confidence: of the interval, between 0 and 1.

    Returns:
        Lower and upper bound.

    Raises:
        ValueError: there are fewer than two pairs, their numbers differ, one is not finite, or the confidence makes no
            sense.
    """
    differences = _as_numbers("second", second) - _as_numbers("first", first, len(second))
    if len(differences) < 2:
        raise ValueError(f"An interval over pairs needs at least two of them, found {len(differences)}.")
    _check_confidence(confidence)
    degrees = len(differences) - 1
    half = _t_quantile(confidence, degrees) * differences.std(ddof=1) / math.sqrt(len(differences))
    return float(differences.mean() - half), float(differences.mean() + half)


def mcnemar(first_right: Sequence[bool], second_right: Sequence[bool]) -> McNemar:
    """
    McNemar's exact test of two models on the same samples: whether those that one of them alone has right are split as
    by a fair coin.

    Args:
        first_right, second_right: whether each sample is right, in the same order.

    Raises:
        ValueError: there are no samples, their numbers differ, or a value is neither true nor false.
    """
    first = _as_numbers("first_right", first_right, len(second_right))
    second = _as_numbers("second_right", second_right)
    for name, values in (("first_right", first), ("second_right", second)):
        if not np.isin(values, (0, 1)).all():
            raise ValueError(f"{name} must hold whether each sample is right: 0 or 1.")
    only_first, only_second = int((first > second).sum()), int((second > first).sum())
    total, fewer = only_first + only_second, min(only_first, only_second)
    ways = choose = 1  # of no heads in so many throws, then of one more each time
    for heads in range(1, fewer + 1):
        choose = choose * (total - heads + 1) // heads
        ways += choose
    return McNemar(only_first, only_second, min(1.0, 2 * ways / 2**total))


def _as_numbers(name: str, values: Any, length: int | None = None) -> np.ndarray:
    """float64 `(N,)`."""
    numbers = np.asarray(values, dtype=np.float64)
    if numbers.ndim != 1 or not len(numbers):
        raise ValueError(f"{name} must be a list of at least one value; found the shape {numbers.shape}.")
    if length not in (None, len(numbers)):
        raise ValueError(f"Expected as many values of both, in the same order; found {len(numbers)} and {length}.")
    if not np.isfinite(numbers).all():
        raise ValueError(f"{name} has values that are NaN or infinite, first at {int(np.isfinite(numbers).argmin())}.")
    return numbers


def _resampled_means(values: np.ndarray, resamples: int, seed: int) -> np.ndarray:
    if resamples < 1:
        raise ValueError(f"resamples must be at least 1, found {resamples}.")
    generator = np.random.default_rng(seed)
    rows = max(1, CHUNK // len(values))
    means = [
        values[generator.integers(len(values), size=(min(rows, resamples - done), len(values)))].mean(axis=1)
        for done in range(0, resamples, rows)
    ]
    return np.concatenate(means)


def _check_confidence(confidence: float) -> None:
    if not 0 < confidence < 1 or math.isnan(confidence):
        raise ValueError(f"confidence must be between 0 and 1, found {confidence}.")


def _t_quantile(confidence: float, degrees: int) -> float:
    """The bound that Student's t keeps to on both sides with this probability, found by halving."""
    low, high = 0.0, math.pi / 2
    while high - low > 1e-15:
        middle = (low + high) / 2
        low, high = (middle, high) if _t_probability(middle, degrees) < confidence else (low, middle)
    return math.sqrt(degrees) * math.tan(low)


def _t_probability(angle: float, degrees: int) -> float:
    """P(|t| <= sqrt(degrees) * tan(angle)): the finite series of Abramowitz and Stegun, 26.7.3 and 26.7.4."""
    sine, cosine, odd = math.sin(angle), math.cos(angle), degrees % 2
    term, series = (cosine if odd else 1.0), 0.0
    for power in range(odd, degrees - 1, 2):
        series += term
        term *= cosine**2 * (power + 1) / (power + 2)
    return 2 / math.pi * (angle + sine * series) if odd else sine * series


def _interval(means: np.ndarray, confidence: float) -> tuple[float, float]:
    _check_confidence(confidence)
    low, high = np.quantile(means, [(1 - confidence) / 2, (1 + confidence) / 2])
    return float(low), float(high)


__all__ = ["McNemar", "PairedDifference", "bootstrap_interval", "mcnemar", "paired_bootstrap", "paired_t_interval"]
