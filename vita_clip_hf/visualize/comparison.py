"""Reports and runs side by side: accuracy by class, against frames and views, and of the rows of a study."""

from collections.abc import Mapping, Sequence
from itertools import cycle
from pathlib import Path
from typing import Any

from .figure import AFTER, BEFORE, GREY, INK, new_figure, open_frame, plain_text, save


def draw_class_bars(by_class: Mapping[str, tuple[float, float]], names: tuple[str, str], path: Path) -> None:
    """
    Two bars for each class.

    Args:
        by_class: top-1 of both models, from 0 to 1.
        names: of the models.
        path: the PNG file.
    """
    figure = new_figure(7, 0.42 * len(by_class) + 1.2)
    axis = figure.add_subplot()
    places = [-float(place) for place in range(len(by_class))]
    for shift, color, number in ((0.2, BEFORE, 0), (-0.2, AFTER, 1)):
        shares = [100 * shares[number] for shares in by_class.values()]
        axis.barh(
            [place + shift for place in places], shares, height=0.36, color=color, label=plain_text(names[number])
        )
    axis.set_yticks(places, [plain_text(name) for name in by_class], fontsize=8)
    axis.set_xlim(0, 100)
    axis.set_xlabel("top-1, %", color=INK)
    axis.set_title("Top-1 by class, the most different first", fontsize=10, color=INK, pad=22)
    axis.legend(frameon=False, fontsize=8, loc="lower center", bbox_to_anchor=(0.5, 1.0), ncols=2)
    open_frame(axis)
    save(figure, path)


def draw_accuracy_by_frames(points: Sequence[tuple[str, int, int, float]], path: Path) -> None:
    """
    Accuracy against the frames that a model sees of a video: frames of a clip times views.

    Args:
        points: name, frames of a clip, views and accuracy, from 0 to 1.
        path: the PNG file.
    """
    figure = new_figure(7, 4)
    axis = figure.add_subplot()
    for name, frames, views, accuracy in points:
        axis.plot(frames * views, 100 * accuracy, "o", color=AFTER)
        note = f"{plain_text(name)}: {frames} x {views}"
        axis.annotate(note, (frames * views, 100 * accuracy), xytext=(5, 5), textcoords="offset points", fontsize=8)
    axis.set_title("Accuracy against the frames that are seen", fontsize=10, color=INK)
    axis.set_xscale("log", base=2)
    axis.set_xlabel("frames x views")
    axis.set_ylabel("accuracy, %", color=INK)
    axis.margins(x=0.2, y=0.2)
    open_frame(axis)
    save(figure, path)


def draw_accuracies(rows: Mapping[str, Mapping[str, tuple[float, float]]], path: Path) -> None:
    """
    The accuracies of each row of a study, with bars of one standard deviation.

    Args:
        rows: mean and standard deviation, from 0 to 1, by row and then by the accuracy's name; the same names in all.
        path: the PNG file.
    """
    names = list(next(iter(rows.values())))
    figure = new_figure(7, 0.5 * len(rows) + 1.6)
    axis = figure.add_subplot()
    spread = 0.5 / max(1, len(names))
    for number, (name, (color, marker)) in enumerate(zip(names, cycle(((BEFORE, "s"), (AFTER, "o"), (INK, "^"))))):
        shift = spread * ((len(names) - 1) / 2 - number)
        means, deviations = zip(*(of_row[name] for of_row in rows.values()), strict=True)
        places = [shift - place for place in range(len(rows))]
        shares = [[100 * value for value in values] for values in (means, deviations)]
        style: dict[str, Any] = {"fmt": marker, "color": color, "markersize": 6, "capsize": 2, "elinewidth": 1}
        axis.errorbar(shares[0], places, xerr=shares[1], label=plain_text(name), **style)
    axis.set_yticks([-place for place in range(len(rows))], [plain_text(row) for row in rows], fontsize=9)
    axis.set_xlim(0, 100)
    axis.set_xlabel("accuracy, %; bars: one standard deviation", fontsize=9, color=INK)
    axis.grid(axis="x", color=GREY, alpha=0.25, linewidth=0.6)
    axis.set_axisbelow(True)
    figure.legend(loc="outside upper center", ncols=len(names), frameon=False, fontsize=8)
    open_frame(axis)
    save(figure, path)
