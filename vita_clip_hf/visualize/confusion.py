"""Which class is taken for which."""

from collections.abc import Sequence
from pathlib import Path

import torch

from .figure import INK, new_figure, plain_text, save


def draw_confusion_matrix(matrix: torch.Tensor, labels: Sequence[str], path: Path) -> None:
    """
    Args:
        matrix: `(C, C)`, the share of the clips of class i that are predicted as class j.
        labels: C names.
        path: the PNG file.
    """
    side = max(4.5, 0.42 * len(labels) + 2.2)
    figure = new_figure(side, side)
    axis = figure.add_subplot()
    axis.imshow(matrix.numpy(), cmap="Blues", vmin=0, vmax=1)
    ticks, names = range(len(labels)), [plain_text(label) for label in labels]
    axis.set_xticks(ticks, names, rotation=90, fontsize=8)
    axis.set_yticks(ticks, names, fontsize=8)
    axis.set_xlabel("predicted class")
    axis.set_ylabel("true class")
    for row in ticks:
        for column in ticks:
            share = matrix[row, column].item()
            if share >= 0.005:
                color = "white" if share > 0.5 else INK
                axis.text(column, row, f"{100 * share:.0f}", ha="center", va="center", fontsize=7, color=color)
    axis.set_title("% of the clips of each true class; right on the diagonal", fontsize=9, color=INK)
    save(figure, path)
