"""From the parts of an evaluation to the numbers that papers quote: means, deviations, harmonic means."""

from collections.abc import Sequence
from statistics import fmean, pstdev, stdev

from .metrics import harmonic_mean
from .protocols import Protocol
from .report import Part

_Z_95 = 1.96  # of the normal distribution


def summarise(parts: Sequence[Part], protocol: Protocol) -> dict[str, float]:
    """
    The figures to quote.

    Of one part its own. Of several their mean, `NAME_mean`, and their deviation, `NAME_deviation`: the root of the
    mean squared distance from the mean (divided by the number of parts, as numpy does by default). Few-shot has a
    mean for each number of shots, `top_1_k16`; base-to-novel has `base_top_1`, `novel_top_1` and the harmonic mean of
    these two means. Over few-shot episodes `top_1_interval` is the half of the mean's 95 % interval, 1.96 standard
    errors, which is how the field writes "mean ± interval".
    """
    if protocol.kind == "base_to_novel":
        return _base_to_novel(parts, protocol)
    if protocol.kind == "few_shot" and any(part.shots is not None for part in parts):
        by_shots = {shots: [part for part in parts if part.shots == shots] for shots in protocol.shots}
        return {
            f"{name}_k{shots}": value
            for shots, of_shots in by_shots.items()
            if of_shots
            for name, value in _means(of_shots).items()
        }
    figures = _means(parts)
    if protocol.kind == "episodes" and len(parts) > 1:
        values = [part.figures[protocol.metrics[0]] for part in parts]
        figures[f"{protocol.metrics[0]}_interval"] = _Z_95 * stdev(values) / len(values) ** 0.5
    return figures


def _base_to_novel(parts: Sequence[Part], protocol: Protocol) -> dict[str, float]:
    figures: dict[str, float] = {}
    metric = protocol.metrics[0]
    means = {}
    for half in ("base", "novel"):
        of_half = [part for part in parts if part.split == half]
        if of_half:
            figures |= {f"{half}_{name}": value for name, value in _means(of_half).items()}
            means[half] = fmean(part.figures[metric] for part in of_half)
    if len(means) == 2:
        figures["harmonic_mean"] = harmonic_mean(list(means.values()))
    return figures


def _means(parts: Sequence[Part]) -> dict[str, float]:
    if len(parts) == 1:
        return dict(parts[0].figures)
    figures = {}
    for name in parts[0].figures:
        values = [part.figures[name] for part in parts]
        figures[f"{name}_mean"], figures[f"{name}_deviation"] = fmean(values), pstdev(values)
    return figures


__all__ = ["summarise"]
