"""Clips beside their predictions."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch

from .figure import GOOD, GREY, INK, new_figure, plain_text, save

FRAME_WIDTH, PREDICTIONS_WIDTH, ROW_HEIGHT = 0.85, 2.9, 1.02  # inches
_TRUE = "\N{CHECK MARK}"


def draw_film_strip(
    clips: torch.Tensor,
    truths: Sequence[str],
    logits: Mapping[str, torch.Tensor],
    labels: Sequence[str],
    path: Path,
    top_k: int = 3,
) -> None:
    """
    Draws one clip a row, with the best predictions of several models beside it: green and marked is the true class.

    Args:
        clips: uint8 `(N, T, 3, H, W)`.
        truths: the name of each clip's class.
        logits: `(N, C)` of each model, by the model's name.
        labels: C names.
        path: the PNG file.
        top_k: how many predictions to show.
    """
    num_clips, num_frames = clips.shape[:2]
    widths = [FRAME_WIDTH * num_frames, *[PREDICTIONS_WIDTH] * len(logits)]
    figure = new_figure(sum(widths), ROW_HEIGHT * num_clips + 0.6)
    grid = figure.add_gridspec(num_clips, 1 + len(logits), width_ratios=widths, wspace=0.02)
    for row in range(num_clips):
        film = figure.add_subplot(grid[row, 0])
        film.imshow(_side_by_side(clips[row]))
        film.set_title(plain_text(truths[row]), fontsize=9, loc="left", color=INK, pad=3)
        film.axis("off")
        for column, (name, model_logits) in enumerate(logits.items(), start=1):
            axis = figure.add_subplot(grid[row, column])
            _draw_predictions(axis, model_logits[row], truths[row], labels, top_k)
            if row == 0:
                axis.set_title(plain_text(name), fontsize=9, loc="left", color=INK, pad=3, fontweight="bold")
    figure.supxlabel(
        f"Above each clip: its true class. Bars: probabilities; green, with a {_TRUE}: the true class, grey: another.",
        fontsize=8.5,
        color=INK,
    )
    save(figure, path)


def _side_by_side(clip: torch.Tensor, gap: int = 2) -> np.ndarray:
    """Frames `(T, 3, H, W)` in a row on white: `(H, T * (W + gap) - gap, 3)`."""
    padded = torch.nn.functional.pad(clip, (0, gap), value=255)
    return padded.permute(2, 0, 3, 1).flatten(1, 2)[:, :-gap].numpy()


def _draw_predictions(axis: Any, logits: torch.Tensor, truth: str, labels: Sequence[str], top_k: int) -> None:
    scores, ids = logits.softmax(-1).topk(min(top_k, len(labels)))
    for place, (score, index) in enumerate(zip(scores.tolist(), ids.tolist(), strict=True)):
        is_true = labels[index] == truth
        text = f"{plain_text(labels[index])}  {100 * score:.0f} %" + (f"  {_TRUE}" if is_true else "")
        axis.barh(-place, score, color=GOOD if is_true else GREY, alpha=0.35, height=0.85)
        axis.text(0.01, -place, text, va="center", fontsize=7.5, color=INK)
    axis.set_xlim(0, 1)
    axis.set_ylim(-top_k + 0.4, 0.6)
    axis.axis("off")
