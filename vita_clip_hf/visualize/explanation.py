"""One page about a prediction: frames, attention over them, the frames that decided, the share of the prompts."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch

from .attention import CLASS, GLOBAL, LOCAL, PATCHES, SUMMARY, AttentionMaps
from .figure import AFTER, BEFORE, GOOD, GREY, INK, new_figure, open_frame, plain_text, save

KIND_COLORS = {CLASS: INK, PATCHES: "#c9c9c9", SUMMARY: AFTER, LOCAL: BEFORE, GLOBAL: GOOD}
FRAME_WIDTH, LEAST_WIDTH = 1.15, 7.0  # inches, the latter for the texts of a clip of few frames
LETTERS_AN_INCH = 9  # of a label, which surely fit beside the percentage


@dataclass(frozen=True)
class Explanation:
    """
    Args:
        frames: as the model sees them, uint8 `(T, 3, H, W)`.
        seconds: when each of them is shown, or `None`.
        scores: the best labels with their probabilities.
        attention: of the clip.
        importance: of each frame for the best label, `(T,)`, or `None` for a clip of one frame.
    """

    frames: torch.Tensor
    seconds: Sequence[float] | None
    scores: Sequence[tuple[str, float]]
    attention: AttentionMaps
    importance: torch.Tensor | None

    def heat_maps(self) -> dict[str, torch.Tensor]:
        """The last layer's maps `(T, rows, columns)` by their names."""
        maps = {"class token": self.attention.of_patches(self.attention.class_token)[-1]}
        if self.attention.summary_token is not None:
            maps["summary token"] = self.attention.of_patches(self.attention.summary_token)[-1]
        return {**maps, "all layers (rollout)": self.attention.rollout}


def heat_overlay(frames: torch.Tensor, maps: torch.Tensor, strength: float = 0.6) -> np.ndarray:
    """
    Lays attention over frames: where it is high the frame keeps its light, elsewhere it is darkened.

    Args:
        frames: uint8 `(T, 3, H, W)`.
        maps: `(T, rows, columns)`, scaled so that the highest of all frames is 1.
        strength: from 0 (nothing) to 1 (patches without attention are black).

    Returns:
        uint8 `(T, H, W, 3)`.
    """
    scaled = (maps / maps.max().clamp(min=1e-12))[:, None].float()
    light = torch.nn.functional.interpolate(scaled, size=frames.shape[-2:], mode="bilinear", align_corners=False)
    seen = frames.float() * (1 - strength + strength * light)
    # Warm light on what is looked at, so that dark patches of a dark frame are told from patches without attention.
    seen[:, 0] += 90 * strength * light[:, 0]
    return seen.clamp(0, 255).to(torch.uint8).permute(0, 2, 3, 1).numpy()


def draw_explanation(explanation: Explanation, path: Path, title: str = "") -> None:
    """
    Draws the page as a PNG file.

    Args:
        explanation: of one clip.
        path: the file.
        title: above everything, such as the file's name.
    """
    num_frames = len(explanation.frames)
    maps = explanation.heat_maps()
    figure = new_figure(max(FRAME_WIDTH * num_frames, LEAST_WIDTH) + 1.6, FRAME_WIDTH * (len(maps) + 1) + 5.4)
    heights = [1] * (len(maps) + 1) + [1.1, 1.5, 1.5]
    grid = figure.add_gridspec(len(heights), num_frames, height_ratios=heights)
    best, score = explanation.scores[0]
    begin = f"{_shortened(title, 40)}: " if title else ""
    figure.suptitle(plain_text(f"{begin}{_shortened(best, 50)} ({score:.1%})"), fontsize=11, color=INK)
    rows = {"frames": explanation.frames.permute(0, 2, 3, 1).numpy()}
    rows |= {name: heat_overlay(explanation.frames, map_) for name, map_ in maps.items()}
    for row, (name, pictures) in enumerate(rows.items()):
        for column in range(num_frames):
            axis = figure.add_subplot(grid[row, column])
            axis.imshow(pictures[column])
            axis.set_xticks([])
            axis.set_yticks([])
            axis.spines[:].set_visible(False)
            if column == 0:
                axis.set_ylabel(name, fontsize=8, color=INK)
            if row == 0 and explanation.seconds is not None:
                axis.set_title(f"{explanation.seconds[column]:.2f} s", fontsize=8, color=INK)
    _draw_importance(figure.add_subplot(grid[-3, :]), explanation)
    _draw_shares(figure.add_subplot(grid[-2, :]), explanation.attention)
    _draw_scores(figure.add_subplot(grid[-1, :]), explanation.scores)
    save(figure, path)


def _draw_importance(axis, explanation: Explanation) -> None:
    places = range(1, len(explanation.frames) + 1)
    axis.set_title("how far the best label's probability falls without the frame", fontsize=8, loc="left", color=INK)
    if explanation.importance is None:
        axis.text(0.5, 0.5, "a clip of one frame has no other frames", ha="center", fontsize=8, color=GREY)
        axis.axis("off")
        return
    values = explanation.importance.tolist()
    axis.bar(places, values, color=[GOOD if value >= 0 else BEFORE for value in values], width=0.6)
    axis.axhline(0, color=GREY, linewidth=0.8)
    axis.set_xticks(list(places), [f"frame {place}" for place in places], fontsize=7)
    axis.set_xlim(0.5, len(values) + 0.5)
    axis.tick_params(axis="y", labelsize=7)
    open_frame(axis)


def _draw_shares(axis, attention: AttentionMaps) -> None:
    axis.set_title("what the class token attends to, by layer", fontsize=8, loc="left", color=INK)
    shares = attention.shares(attention.class_token)
    layers = range(1, len(attention.class_token) + 1)
    bottom = np.zeros(len(layers))
    for kind, share in shares.items():
        axis.bar(layers, share.numpy(), bottom=bottom, color=KIND_COLORS[kind], label=kind, width=0.7)
        bottom = bottom + share.numpy()
    axis.set_xticks(
        list(layers), [f"layer {layer}" if len(layers) <= 16 else str(layer) for layer in layers], fontsize=7
    )
    axis.set_ylim(0, 1)
    axis.tick_params(axis="y", labelsize=7)
    axis.legend(fontsize=7, frameon=False, loc="center left", bbox_to_anchor=(1.0, 0.5))
    open_frame(axis)


def _draw_scores(axis, scores: Sequence[tuple[str, float]]) -> None:
    axis.set_title("best labels", fontsize=8, loc="left", color=INK)
    longest = int((axis.get_figure().get_figwidth() - 1.6) * LETTERS_AN_INCH)
    for place, (label, score) in enumerate(scores):
        axis.barh(-place, 1, color="#f1f1f1", height=0.8)  # the track that the score fills, and its text stays within
        axis.barh(-place, score, color=AFTER, alpha=0.35, height=0.8)
        axis.text(0.01, -place, plain_text(_shortened(label, longest)), va="center", fontsize=8, color=INK)
        axis.text(0.99, -place, f"{score:.1%}", va="center", ha="right", fontsize=8, color=INK)
    axis.set_xlim(0, 1)
    axis.set_yticks([])
    axis.tick_params(axis="x", labelsize=7)
    open_frame(axis)


def _shortened(text: str, longest: int) -> str:
    return text if len(text) <= longest else f"{text[: longest - 1]}…"
