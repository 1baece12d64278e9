"""Training in bfloat16 on Motion Shapes: loss curves of each way to do it, beside float32 and beside another seed."""

from pathlib import Path
from typing import Any

import torch
from study import Figures, MotionShapes, Runs, Study, agreement, run_on_motion_shapes

from vita_clip_hf import VitaClipForVideoClassification
from vita_clip_hf.demo.recipe import Recipe
from vita_clip_hf.demo.splits import TEST
from vita_clip_hf.demo.training import ATTENTION
from vita_clip_hf.evaluation.tables import markdown_table
from vita_clip_hf.visualize import draw_loss_curves

NAME = "precisions"
RECIPE = Recipe(train_clips=3_500, unseen_looks_clips=140, unseen_motions_clips=80, steps=300)
# autocast: matrix products in bfloat16, whatever the weights are in. base_dtype: of the frozen CLIP. other_seed: how
# far two runs differ in any case.
FLOAT32 = {"autocast": False, "base_dtype": "float32", "other_seed": False}
ROWS: dict[str, dict[str, Any]] = {
    "float32": FLOAT32,
    "bfloat16 autocast, float32 base": {**FLOAT32, "autocast": True},
    "bfloat16 autocast, bfloat16 base": {**FLOAT32, "autocast": True, "base_dtype": "bfloat16"},
    "bfloat16 base, no autocast": {**FLOAT32, "base_dtype": "bfloat16"},
    "float32, another seed": {**FLOAT32, "other_seed": True},
}


def build_study(shapes: MotionShapes) -> Study:
    def measure(precision: dict[str, Any], seed: int, folder: Path) -> Figures:
        """Losses by step, accuracies of the model as it was trained, and of its adapter on a float32 base."""
        autocast, base_dtype = precision["autocast"], getattr(torch, precision["base_dtype"])
        model, log = shapes.train(folder, seed + precision["other_seed"], base_dtype=base_dtype, bf16=autocast)
        with torch.autocast(model.device.type, torch.bfloat16, enabled=autocast):
            as_trained, trained_accuracies = shapes.test(model)
        model.save_pretrained(folder / "adapter")
        reloaded = VitaClipForVideoClassification.from_pretrained(folder / "adapter", attn_implementation=ATTENTION)
        in_float32, reloaded_accuracies = shapes.test(reloaded.to(model.device))
        return {
            "losses": [[entry["step"], entry["loss"]] for entry in log if "loss" in entry],
            "as_trained": {"loss": held_out_loss(as_trained), **trained_accuracies},
            "in_float32": {"loss": held_out_loss(in_float32), **reloaded_accuracies},
            **agreement(as_trained, in_float32),
        }

    def held_out_loss(logits: torch.Tensor) -> float:
        return torch.nn.functional.cross_entropy(logits, shapes.splits[TEST].clips.labels).item()

    return Study(NAME, ROWS, measure, format_table, shapes.settings(), draw)


def format_table(runs: Runs) -> str:
    """A row for each run; the training loss is the mean of the last tenth of the steps."""
    header = ["precision", "training loss at the end", "held-out loss", "top-1", "within reversed pairs"]
    header += ["adapter on a float32 base: top-1", "same best class"]
    rows = []
    for precision, seeds in runs.items():
        for figures in seeds:
            last = [loss for _, loss in figures["losses"][-max(1, len(figures["losses"]) // 10) :]]
            trained, reloaded = figures["as_trained"], figures["in_float32"]
            losses = [f"{loss:.3f}" for loss in (sum(last) / len(last), trained["loss"])]
            shares = [trained["top_1"], trained["within_pairs"], reloaded["top_1"], figures["same_best_class"]]
            rows.append([precision, *losses, *(f"{100 * share:.1f} %" for share in shares)])
    return markdown_table(header, rows)


def draw(runs: Runs, path: Path) -> None:
    """The loss curves of the first seed."""
    draw_loss_curves({precision: seeds[0]["losses"] for precision, seeds in runs.items()}, path)


if __name__ == "__main__":
    run_on_motion_shapes(NAME, __doc__, build_study, RECIPE)
