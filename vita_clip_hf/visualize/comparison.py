"""Reports side by side: accuracy by class, and against frames and views."""

from collections.abc import Mapping, Sequence
from pathlib import Path

from .figure import AFTER, BEFORE, INK, new_figure, open_frame, save


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
        axis.barh([place + shift for place in places], shares, height=0.36, color=color, label=names[number])
    axis.set_yticks(places, list(by_class), fontsize=8)
    axis.set_xlim(0, 100)
    axis.set_xlabel("top-1, %", color=INK)
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
        note = f"{name}: {frames} x {views}"
        axis.annotate(note, (frames * views, 100 * accuracy), xytext=(5, 5), textcoords="offset points", fontsize=8)
    axis.set_xscale("log", base=2)
    axis.set_xlabel("frames x views")
    axis.set_ylabel("accuracy, %", color=INK)
    axis.margins(x=0.2, y=0.2)
    open_frame(axis)
    save(figure, path)
