"""Losses and accuracies by step."""

from collections.abc import Mapping, Sequence
from itertools import cycle
from pathlib import Path

from .figure import AFTER, BEFORE, GREY, INK, new_figure, open_frame, save

# Colour-blind readers can tell these colours apart; the dashed line is for a run that the others are compared with.
CURVE_STYLES = ((INK, "-"), (BEFORE, "-"), (AFTER, "-"), ("#b3446c", "-"), (GREY, "--"))


def draw_training_curve(history: Sequence[Mapping[str, float]], path: Path) -> None:
    """
    Draws the loss by step, and the accuracy at the steps where it was evaluated.

    Args:
        history: the Trainer's `state.log_history`.
        path: the PNG file.
    """
    figure = new_figure(7, 3.4)
    loss_axis = figure.add_subplot()
    losses = [(entry["step"], entry["loss"]) for entry in history if "loss" in entry]
    loss_axis.plot(*zip(*losses, strict=True), color=BEFORE, label="training loss")
    loss_axis.set_xlabel("optimizer step")
    loss_axis.set_ylabel("cross-entropy", color=BEFORE)
    loss_axis.set_ylim(bottom=0)
    open_frame(loss_axis)
    accuracies = [(entry["step"], 100 * entry["eval_top_1"]) for entry in history if "eval_top_1" in entry]
    if accuracies:
        accuracy_axis = loss_axis.twinx()
        accuracy_axis.plot(*zip(*accuracies, strict=True), color=AFTER, marker="o", markersize=4)
        accuracy_axis.set_ylabel("top-1 on held-out clips, %", color=AFTER)
        accuracy_axis.set_ylim(0, 100)
        accuracy_axis.spines["top"].set_visible(False)
    save(figure, path)


def draw_loss_curves(curves: Mapping[str, Sequence[Sequence[float]]], path: Path) -> None:
    """
    Draws the losses of several trainings by step, and below them the distance of each from the first.

    Args:
        curves: `(step, loss)` pairs of each training by its name; all at the same steps.
        path: the PNG file.
    """
    figure = new_figure(7, 5.2)
    loss_axis, difference_axis = figure.subplots(2, 1, sharex=True, height_ratios=(3, 2))
    first = [loss for _, loss in next(iter(curves.values()))]
    for (name, curve), (color, style) in zip(curves.items(), cycle(CURVE_STYLES)):
        steps, losses = zip(*curve, strict=True)
        loss_axis.plot(steps, losses, style, color=color, label=name, linewidth=1.3)
        differences = [abs(loss - other) for loss, other in zip(losses, first, strict=True)]
        difference_axis.plot(steps, differences, style, color=color, linewidth=1.3)
    loss_axis.set_ylabel("cross-entropy")
    loss_axis.set_ylim(bottom=0)
    loss_axis.legend(frameon=False, fontsize=8)
    difference_axis.set_ylabel(f"distance from {next(iter(curves))}")
    difference_axis.set_yscale("log")
    difference_axis.set_xlabel("optimizer step")
    open_frame(loss_axis)
    open_frame(difference_axis)
    save(figure, path)
