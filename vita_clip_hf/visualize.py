"""Pictures of a training and of what a model says, as PNG files. They need the extra `demo` (matplotlib)."""

from collections.abc import Mapping, Sequence
from itertools import cycle
from pathlib import Path

import torch

INK, BEFORE, AFTER, GOOD = "#222222", "#b07d2b", "#1f6f8b", "#2f7d4f"
# Colours that the colour-blind tell apart too; what stands for comparison is dashed.
CURVE_STYLES = ((INK, "-"), (BEFORE, "-"), (AFTER, "-"), ("#b3446c", "-"), ("#999999", "--"))


def _new_figure(*args, **kwargs):
    # Imported here: training and inference need no matplotlib, and its object interface needs no display.
    try:
        from matplotlib.figure import Figure
    except ImportError as error:
        raise ImportError("Pictures need matplotlib: pip install 'vita-clip-hf[demo]'.") from error
    return Figure(*args, layout="constrained", **kwargs)


def _save(figure, path: Path, dpi: int = 130) -> None:
    temporary = path.with_name(f".{path.name}")
    figure.savefig(temporary, dpi=dpi, format="png", facecolor="white")
    temporary.replace(path)


def draw_training_curve(history: Sequence[Mapping[str, float]], path: Path) -> None:
    """
    Loss, and accuracy where it was evaluated, by step.

    Args:
        history: the Trainer's `state.log_history`.
        path: of the PNG file.
    """
    figure = _new_figure(figsize=(7, 3.4))
    loss_axis = figure.add_subplot()
    losses = [(entry["step"], entry["loss"]) for entry in history if "loss" in entry]
    loss_axis.plot(*zip(*losses, strict=True), color=BEFORE, label="training loss")
    loss_axis.set_xlabel("optimizer step")
    loss_axis.set_ylabel("cross-entropy", color=BEFORE)
    loss_axis.set_ylim(bottom=0)
    loss_axis.spines[["top", "right"]].set_visible(False)
    accuracies = [(entry["step"], 100 * entry["eval_top_1"]) for entry in history if "eval_top_1" in entry]
    if accuracies:
        accuracy_axis = loss_axis.twinx()
        accuracy_axis.plot(*zip(*accuracies, strict=True), color=AFTER, marker="o", markersize=4)
        accuracy_axis.set_ylabel("top-1 on held-out clips, %", color=AFTER)
        accuracy_axis.set_ylim(0, 100)
        accuracy_axis.spines["top"].set_visible(False)
    _save(figure, path)


def draw_loss_curves(curves: Mapping[str, Sequence[Sequence[float]]], path: Path) -> None:
    """
    Losses of several trainings by step, and below how far each is from the first.

    Args:
        curves: `(step, loss)` pairs of each training by its name; all at the same steps.
        path: of the PNG file.
    """
    figure = _new_figure(figsize=(7, 5.2))
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
    for axis in (loss_axis, difference_axis):
        axis.spines[["top", "right"]].set_visible(False)
    _save(figure, path)


def draw_confusion_matrix(matrix: torch.Tensor, labels: Sequence[str], path: Path) -> None:
    """
    Args:
        matrix: the share of clips of class i that were given class j, `(C, C)`.
        labels: C names.
        path: of the PNG file.
    """
    size = max(4.5, 0.42 * len(labels) + 2.2)
    figure = _new_figure(figsize=(size, size))
    axis = figure.add_subplot()
    axis.imshow(matrix.numpy(), cmap="Blues", vmin=0, vmax=1)
    ticks = range(len(labels))
    axis.set_xticks(ticks, labels, rotation=90, fontsize=8)
    axis.set_yticks(ticks, labels, fontsize=8)
    axis.set_xlabel("predicted")
    axis.set_ylabel("true")
    for row in ticks:
        for column in ticks:
            share = matrix[row, column].item()
            if share >= 0.005:
                color = "white" if share > 0.5 else INK
                axis.text(column, row, f"{100 * share:.0f}", ha="center", va="center", fontsize=7, color=color)
    axis.set_title("% of the clips of each class", fontsize=9, color=INK)
    _save(figure, path)


def draw_film_strip(
    clips: torch.Tensor,
    truths: Sequence[str],
    logits: Mapping[str, torch.Tensor],
    labels: Sequence[str],
    path: Path,
    top_k: int = 3,
) -> None:
    """
    Clips, a row each, with the best predictions of several models beside them.

    Args:
        clips: uint8 `(N, T, 3, H, W)`.
        truths: the name of each clip's class.
        logits: of each model, `(N, C)`.
        labels: C names.
        path: of the PNG file.
        top_k: predictions to show.
    """
    num_clips, num_frames = clips.shape[:2]
    figure = _new_figure(figsize=(0.85 * num_frames + 2.9 * len(logits), 1.02 * num_clips + 0.3))
    widths = [0.85 * num_frames, *[2.9] * len(logits)]
    grid = figure.add_gridspec(num_clips, 1 + len(logits), width_ratios=widths, wspace=0.02)
    for row in range(num_clips):
        film = figure.add_subplot(grid[row, 0])
        film.imshow(_side_by_side(clips[row]))
        film.set_title(truths[row], fontsize=9, loc="left", color=INK, pad=3)
        film.axis("off")
        for column, (name, model_logits) in enumerate(logits.items(), start=1):
            axis = figure.add_subplot(grid[row, column])
            _draw_predictions(axis, model_logits[row], truths[row], labels, top_k)
            if row == 0:
                axis.set_title(name, fontsize=9, loc="left", color=INK, pad=3, fontweight="bold")
    _save(figure, path)


def _side_by_side(clip: torch.Tensor, gap: int = 2):
    """Frames `(T, 3, H, W)` in a row on white, `(H, T * (W + gap) - gap, 3)`."""
    padded = torch.nn.functional.pad(clip, (0, gap), value=255)
    return padded.permute(2, 0, 3, 1).flatten(1, 2)[:, :-gap].numpy()


def _draw_predictions(axis, logits: torch.Tensor, truth: str, labels: Sequence[str], top_k: int) -> None:
    scores, ids = logits.softmax(-1).topk(min(top_k, len(labels)))
    for place, (score, index) in enumerate(zip(scores.tolist(), ids.tolist(), strict=True)):
        color = GOOD if labels[index] == truth else "#999999"
        axis.barh(-place, score, color=color, alpha=0.35, height=0.85)
        axis.text(0.01, -place, f"{labels[index]}  {100 * score:.0f} %", va="center", fontsize=7.5, color=INK)
    axis.set_xlim(0, 1)
    axis.set_ylim(-top_k + 0.4, 0.6)
    axis.axis("off")
