"""The picture of `compare_methods.py`: supervised accuracy against zero-shot accuracy."""

import math
from pathlib import Path
from statistics import mean, stdev
from typing import Any

from study import Figures, Runs

from vita_clip_hf.visualize.curves import CURVE_STYLES
from vita_clip_hf.visualize.figure import GOOD, INK, new_figure, open_frame, save

PANELS = {
    "retention": "stills by name (shape, colour, size, place), %",
    "unseen_motion": "motion of unseen combinations by caption, %",
}
COLORS = (*(color for color, _ in CURVE_STYLES), GOOD, "#6a51a3", "#d95f02")
SMALLEST, LARGEST = 30, 420  # areas of the points, in square points


def draw_tradeoff(runs: Runs, path: Path) -> None:
    """
    A point for each method, with standard deviations over the seeds; its area grows with the logarithm of the number
    of trained parameters.

    Args:
        runs: of the part `supervised`.
        path: the PNG file.
    """
    figure = new_figure(10, 4.6)
    most = max(figures[0]["parameters"] for figures in runs.values())
    axes = figure.subplots(1, len(PANELS))
    for axis, (name, label) in zip(axes, PANELS.items(), strict=True):
        for (method, figures), color in zip(runs.items(), COLORS, strict=False):
            x, x_error = _mean_and_deviation(figures, "seen_top_1")
            y, y_error = _mean_and_deviation(figures, name)
            area = _area(figures[0]["parameters"], most)
            axis.errorbar(x, y, y_error, x_error, fmt="none", ecolor=color, elinewidth=1)
            axis.scatter([x], [y], s=area, color=color, alpha=0.75, linewidths=0, label=method)
        axis.set_xlabel("supervised top-1, %", color=INK)
        axis.set_ylabel(label, color=INK)
        axis.set_xlim(0, 100)
        axis.set_ylim(0, 100)
        open_frame(axis)
    handles, labels = axes[0].get_legend_handles_labels()
    legend: Any = figure.legend(handles, labels, loc="outside lower center", ncols=4, frameon=False, fontsize=8)
    for handle in legend.legend_handles:
        handle.set_sizes([60])
    save(figure, path)


def _area(parameters: int, most: int) -> float:
    share = math.log(1 + parameters) / math.log(1 + most) if most else 0.0
    return SMALLEST + (LARGEST - SMALLEST) * share**4  # so that factors of two can be told apart


def _mean_and_deviation(figures: list[Figures], name: str) -> tuple[float, float]:
    values = [100 * of_seed[name] for of_seed in figures]
    return mean(values), stdev(values) if len(values) > 1 else 0.0
