"""What methods reach in one thing against what they reach in another: accuracy learned against accuracy kept."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import cycle
from pathlib import Path
from typing import Any

from .figure import GREY, INK, new_figure, open_frame, save

# Okabe and Ito's colours, which colour-blind readers can tell apart, without yellow, which is faint on white. Each has
# a marker of its own, so that the picture can be read in grey too.
_COLORS = ("#000000", "#e69f00", "#56b4e9", "#009e73", "#0072b2", "#d55e00", "#cc79a7", "#7f7f7f")
_MARKERS = ("o", "s", "^", "D", "v", "P", "X", "h")
_SMALLEST, _LARGEST = 40, 420  # areas of markers, in square points


@dataclass(frozen=True)
class MeasuredAxis:
    """
    Args:
        title: of the axis, without a unit.
        values: mean and standard deviation by method, from 0 to 1.
        chance: what guessing gives, from 0 to 1; `None` for no line.
    """

    title: str
    values: Mapping[str, tuple[float, float]]
    chance: float | None = None


def draw_tradeoff(
    x: MeasuredAxis, ys: Sequence[MeasuredAxis], sizes: Mapping[str, float], seeds: int, path: Path
) -> None:
    """
    A panel for each of `ys` with a marker for each method, whose area grows with the method's size, and bars of one
    standard deviation.

    Args:
        x, ys: values of the same methods.
        sizes: of the methods: numbers of trained parameters.
        seeds: over which the deviations are; 1 for none.
        path: the PNG file.
    """
    figure = new_figure(5.2 * len(ys), 5.6)
    styles = dict(zip(x.values, cycle(zip(_COLORS, _MARKERS, strict=True)), strict=False))
    largest = max(sizes.values()) or 1
    panels = figure.subplots(1, len(ys), squeeze=False)[0]
    for panel, y in zip(panels, ys, strict=True):
        _draw_chance(panel, x.chance, y.chance)
        # The largest first, so that none is hidden behind a larger one.
        for method in sorted(x.values, key=lambda name: -sizes[name]):
            color, marker = styles[method]
            (x_mean, x_spread), (y_mean, y_spread) = x.values[method], y.values[method]
            place = (100 * x_mean, 100 * y_mean)
            panel.errorbar(*place, 100 * y_spread, 100 * x_spread, fmt="none", ecolor=color, elinewidth=1, capsize=2)
            area = _area(sizes[method], largest)
            panel.scatter(*place, s=area, color=color, marker=marker, alpha=0.8, edgecolors="white", linewidths=0.8)
        panel.set_xlim(0, 100)
        panel.set_ylim(0, 100)
        panel.set_xlabel(f"{x.title}, %", fontsize=9, color=INK)
        panel.set_ylabel(f"{y.title}, %", fontsize=9, color=INK)
        panel.grid(color=GREY, alpha=0.2, linewidth=0.6)
        panel.set_axisbelow(True)
        open_frame(panel)
    bars = f"; bars: one standard deviation over {seeds} seeds" if seeds > 1 else ""
    figure.suptitle(f"Up and right is better{bars}", fontsize=10, color=INK)
    _draw_legends(figure, panels[0], styles, largest)
    save(figure, path)


def _area(size: float, largest: float) -> float:
    """Of a marker: in proportion to the size, above a least area that can be seen."""
    return _SMALLEST + (_LARGEST - _SMALLEST) * size / largest


def _draw_chance(panel: Any, x: float | None, y: float | None) -> None:
    line = {"color": GREY, "linestyle": (0, (2, 2)), "linewidth": 1.2, "zorder": 0}
    text = {"color": "#666666", "fontsize": 8}
    if x is not None:
        panel.axvline(100 * x, **line)
        panel.text(100 * x, 100.5, "chance", ha="center", va="bottom", **text)
    if y is not None:
        panel.axhline(100 * y, **line)
        panel.text(100.5, 100 * y, "chance", ha="left", va="center", **text)


def _draw_legends(figure: Any, panel: Any, styles: Mapping[str, tuple[str, str]], largest: float) -> None:
    """The methods below on the left, and what the areas mean on the right."""
    methods = [
        panel.scatter([], [], s=70, color=color, marker=marker, label=name) for name, (color, marker) in styles.items()
    ]
    text: dict[str, Any] = {"frameon": False, "fontsize": 9, "title_fontsize": 9, "alignment": "left"}
    figure.legend(handles=methods, loc="outside lower left", ncols=2, title="method", **text)
    sizes = [
        panel.scatter([], [], s=_area(size, largest), color=GREY, label=f"{size:,.0f}")
        for size in _round_sizes(largest)
    ]
    figure.legend(handles=sizes, loc="outside lower right", title="trained parameters", labelspacing=1.2, **text)


def _round_sizes(largest: float) -> list[float]:
    """Nothing, a tenth of the largest and the largest, both rounded to one digit."""
    return [0, *(float(f"{size:.0e}") for size in (largest / 10, largest))]


__all__ = ["MeasuredAxis", "draw_tradeoff"]
