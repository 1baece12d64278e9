"""Losses and accuracies by step."""

from collections.abc import Mapping, Sequence
from itertools import cycle
from pathlib import Path
from typing import Any

from .figure import AFTER, BEFORE, GREY, INK, new_figure, open_frame, plain_text, save

# Colour, line and marker of each curve: where they coincide, the later ones are dashed and let the earlier show.
_CURVE_STYLES = (
    (INK, "-", "o"),
    (BEFORE, (0, (6, 3)), "s"),
    (AFTER, (0, (3, 3)), "^"),
    ("#b3446c", (0, (1, 2)), "D"),
    (GREY, (0, (5, 2, 1, 2)), "v"),
)


def draw_training_curve(history: Sequence[Mapping[str, float]], path: Path) -> None:
    """
    Draws the loss by step, and the accuracy at the steps where it was evaluated.

    Args:
        history: the Trainer's `state.log_history`.
        path: the PNG file.
    """
    figure = new_figure(7, 3.8)
    loss_axis = figure.add_subplot()
    losses = [(entry["step"], entry["loss"]) for entry in history if "loss" in entry]
    lines = loss_axis.plot(*zip(*losses, strict=True), color=BEFORE, label="training loss (left)")
    loss_axis.set_xlabel("optimizer step")
    loss_axis.set_ylabel("cross-entropy", color=BEFORE)
    loss_axis.set_ylim(bottom=0)
    open_frame(loss_axis)
    accuracies = [(entry["step"], 100 * entry["eval_top_1"]) for entry in history if "eval_top_1" in entry]
    if accuracies:
        accuracy_axis = loss_axis.twinx()
        style: dict[str, Any] = {
            "color": AFTER,
            "marker": "o",
            "markersize": 4,
            "linestyle": (0, (4, 2)),
            "clip_on": False,
        }
        label = "top-1 on held-out clips (right)"
        lines += accuracy_axis.plot(*zip(*accuracies, strict=True), label=label, **style)
        accuracy_axis.set_ylabel("top-1, %", color=AFTER)
        accuracy_axis.set_ylim(0, 100)
        accuracy_axis.spines["top"].set_visible(False)
    loss_axis.set_title("Training" + (": loss and accuracy" if accuracies else " loss"), fontsize=10, color=INK)
    figure.legend(handles=lines, loc="outside lower center", ncols=2, frameon=False, fontsize=8)
    save(figure, path)


def draw_loss_curves(curves: Mapping[str, Sequence[Sequence[float]]], path: Path) -> None:
    """
    Draws the losses of several trainings by step, and below them the distance of each from the first.

    Args:
        curves: `(step, loss)` pairs of each training by its name; all at the same steps.
        path: the PNG file.
    """
    figure = new_figure(7, 6.2)
    loss_axis, difference_axis = figure.subplots(2, 1, sharex=True, height_ratios=(3, 2))
    name_of_first, first_curve = next(iter(curves.items()))
    first = [loss for _, loss in first_curve]
    for number, ((name, curve), (color, line, marker)) in enumerate(zip(curves.items(), cycle(_CURVE_STYLES))):
        steps, losses = zip(*curve, strict=True)
        # Each has its markers at steps of its own. The first is wide and pale, so that it is seen below the others.
        every = (number * max(1, len(steps) // 25), max(1, len(steps) // 5))
        style: dict[str, Any] = {"color": color, "linestyle": line, "marker": marker, "markersize": 4}
        style |= {"markevery": every, "linewidth": 5 if number == 0 else 1.5, "alpha": 0.35 if number == 0 else 1}
        loss_axis.plot(steps, losses, label=plain_text(name), **style)
        if number > 0:
            differences = [abs(loss - other) for loss, other in zip(losses, first, strict=True)]
            difference_axis.plot(steps, differences, **style)
    loss_axis.set_title("Training loss", fontsize=10, color=INK)
    loss_axis.set_ylabel("cross-entropy")
    loss_axis.set_ylim(bottom=0)
    loss_axis.legend(frameon=False, fontsize=8)
    difference_axis.set_title(
        f"Distance of each loss from that of {plain_text(name_of_first)}", fontsize=10, color=INK
    )
    difference_axis.set_ylabel("|difference|, log scale")
    if len(curves) > 1:
        difference_axis.set_yscale("log")
    difference_axis.set_xlabel("optimizer step")
    open_frame(loss_axis)
    open_frame(difference_axis)
    save(figure, path)
