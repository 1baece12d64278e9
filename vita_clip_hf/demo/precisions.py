"""Training in bfloat16 on Motion Shapes: the loss curve of each way of it, beside float32 and beside another seed."""

import json
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import torch

from ..evaluation import predict_logits
from ..modeling.modeling_vita_clip import VitaClipForVideoClassification
from ..visualize import draw_loss_curves
from .recipe import Recipe
from .splits import TEST, TRAIN, Split, make_splits
from .study import Evaluation, describe_environment, load_processor, write_json
from .training import build_model, train_prompts


@dataclass(frozen=True)
class Precision:
    """
    How a training computes.

    Args:
        autocast: matrix products in bfloat16, whatever the weights are in.
        base_dtype: what the frozen CLIP is stored in.
        other_seed: another order of the clips and other first values: by how much two runs differ anyway.
    """

    autocast: bool = False
    base_dtype: torch.dtype = torch.float32
    other_seed: bool = False


PRECISIONS = {
    "float32": Precision(),
    "bfloat16 autocast, float32 base": Precision(autocast=True),
    "bfloat16 autocast, bfloat16 base": Precision(autocast=True, base_dtype=torch.bfloat16),
    "bfloat16 base, no autocast": Precision(base_dtype=torch.bfloat16),
    "float32, another seed": Precision(other_seed=True),
}


def run_precisions(output: Path, recipe: Recipe, num_workers: int = 2) -> list[dict[str, Any]]:
    """
    Trains in each precision and writes `precisions.json`, `precisions.md` and `precisions.png` into `output`. Runs
    that are in `precision_runs/` already, with the same recipe, are not repeated.

    Returns:
        A row for each: the losses by step; the accuracies as it was trained, and of its adapter on a base in float32;
        how far the two are from each other.
    """
    processor = load_processor(recipe)
    splits = make_splits(output / "data", recipe, processor.video_processor, num_workers)
    rows = []
    for name, precision in PRECISIONS.items():
        seed = recipe.seed + 1 if precision.other_seed else recipe.seed
        run = _kept_or_run(output, replace(recipe, seed=seed), name, splits, processor)
        rows.append({"precision": name, **run})
    content = {"runs": rows, "recipe": asdict(recipe), "environment": _environment()}
    write_json(output / "precisions.json", content)
    draw_loss_curves({row["precision"]: row["losses"] for row in rows}, output / "precisions.png")
    table = format_table(rows)
    (output / "precisions.md").write_text(table, encoding="utf-8")
    print(table)
    return rows


def _kept_or_run(output: Path, recipe: Recipe, name: str, splits: dict[str, Split], processor: Any) -> dict:
    folder = output / "precision_runs" / name.replace(" ", "_")
    path = folder / "figures.json"
    if path.is_file() and (kept := json.loads(path.read_text(encoding="utf-8")))["recipe"] == asdict(recipe):
        return kept["figures"]
    print(name)
    figures = _run(folder, recipe, PRECISIONS[name], splits, processor)
    write_json(path, {"recipe": asdict(recipe), "figures": figures})
    return figures


def _run(folder: Path, recipe: Recipe, precision: Precision, splits: dict[str, Split], processor: Any) -> dict:
    model = build_model(recipe, splits[TRAIN].labels)
    model.cast_base(precision.base_dtype)
    clips = splits[TRAIN].clips
    history = train_prompts(model, recipe, clips, None, processor, folder / "trainer", bf16=precision.autocast)
    with torch.autocast(model.device.type, torch.bfloat16, enabled=precision.autocast):
        as_trained = predict_logits(model, splits[TEST].clips, processor)
    model.save_pretrained(folder / "adapter")
    reloaded = VitaClipForVideoClassification.from_pretrained(folder / "adapter", attn_implementation="eager")
    in_float32 = predict_logits(reloaded.to(model.device), splits[TEST].clips, processor)
    return {
        "losses": [[entry["step"], entry["loss"]] for entry in history if "loss" in entry],
        "as_trained": _figures(as_trained, splits[TEST]),
        "in_float32": _figures(in_float32, splits[TEST]),
        "same_best_class": (as_trained.argmax(-1) == in_float32.argmax(-1)).float().mean().item(),
        "mean_logit_difference": (as_trained - in_float32).abs().mean().item(),
        "largest_logit_difference": (as_trained - in_float32).abs().max().item(),
    }


def _figures(logits: torch.Tensor, split: Split) -> dict[str, float]:
    """Accuracies, and the mean cross-entropy as `loss`."""
    figures = Evaluation(logits, split).figures()
    loss = torch.nn.functional.cross_entropy(logits, split.clips.labels).item()
    return {"loss": loss, "top_1": figures["top_1"], "within_pairs": figures["within_pairs"]}


def _environment() -> dict[str, Any]:
    # Without the demo's own precision, which none of these runs asks for.
    return {name: value for name, value in describe_environment().items() if name != "training_precision"}


def format_table(rows: list[dict[str, Any]]) -> str:
    """The rows in Markdown; the training loss is the mean of the last tenth of the steps."""
    lines = [
        "| precision | training loss at the end | held-out loss | top-1 | within reversed pairs | "
        "adapter on a float32 base: top-1 | same best class |",
        "|---|---|---|---|---|---|---|",
    ]
    for row in rows:
        last = [loss for _, loss in row["losses"][-max(1, len(row["losses"]) // 10) :]]
        trained, reloaded = row["as_trained"], row["in_float32"]
        lines.append(
            f"| {row['precision']} | {sum(last) / len(last):.3f} | {trained['loss']:.3f} | "
            f"{100 * trained['top_1']:.1f} % | {100 * trained['within_pairs']:.1f} % | "
            f"{100 * reloaded['top_1']:.1f} % | {100 * row['same_best_class']:.1f} % |"
        )
    return "\n".join(lines) + "\n"
