"""The demo's table and pictures."""

from pathlib import Path
from typing import Any

from ..evaluation import confusion_matrix
from ..visualize import draw_confusion_matrix, draw_film_strip, draw_training_curve
from .evaluation import Evaluation
from .splits import TEST, UNSEEN_LOOKS, UNSEEN_MOTION_NAMES

ROWS = {
    TEST: "held-out clips",
    UNSEEN_LOOKS: "shapes and colours never trained on",
    UNSEEN_MOTION_NAMES: "motions never trained on (zero-shot)",
}


def print_table(results: dict[str, Any]) -> None:
    """Prints the accuracies of both models, beside chance."""
    print(f"\n{'':38}{'frozen CLIP':>24}{'Vita-CLIP':>24}{'chance':>10}")
    print(f"{'':38}{'top-1   top-5   pairs':>24}{'top-1   top-5   pairs':>24}{'top-1':>10}")
    for split, name in ROWS.items():
        cells = "".join(f"{_percentages(results[model][split]):>24}" for model in ("frozen_clip", "vita_clip"))
        print(f"{name:38}{cells}{results['vita_clip'][split]['chance_top_1']:>10.1%}")
    adapter, seconds = results["adapter"], results["seconds"]
    size = f"{adapter['bytes'] / 1e6:.2f} MB"
    print(f"\nAdapter: {size}; its prompts, loaded back from disk, are those that were trained.")
    best = results["one_file"]["predictions"][0]
    print(f"{results['one_file']['video']}: {best['label']} ({best['score']:.1%})")
    print(
        f"{seconds['all']:.0f} s in all, {seconds['data']:.0f} s for data, {seconds['training']:.0f} s for training."
    )


def _percentages(figures: dict[str, Any]) -> str:
    return "  ".join(f"{figures[key]:6.1%}" for key in ("top_1", "top_5", "within_pairs"))


def draw_pictures(output: Path, history: list[dict[str, float]], before: Evaluation, after: Evaluation) -> None:
    """Writes `training_curve.png`, `confusion_matrix.png` and `film_strip.png`; both evaluations are of one split."""
    clips, names = after.split.clips, after.split.labels
    draw_training_curve(history, output / "training_curve.png")
    draw_confusion_matrix(confusion_matrix(after.logits, clips.labels), names, output / "confusion_matrix.png")
    chosen = [2 * pair for pair in range(len(names) // 2)][:6]  # one motion of each pair
    draw_film_strip(
        clips.pixel_values[chosen],
        [names[label] for label in clips.labels[chosen].tolist()],
        {"frozen CLIP": before.logits[chosen], "Vita-CLIP": after.logits[chosen]},
        names,
        output / "film_strip.png",
    )
