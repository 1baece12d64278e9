"""Adapters of every size on Motion Shapes: what the compact variant and each storage precision cost in accuracy."""

from dataclasses import replace
from pathlib import Path
from typing import Any

from ..evaluation import predict_logits
from ..modeling.adapter_file_vita_clip import ADAPTER_FILE
from ..modeling.modeling_vita_clip import VitaClipForVideoClassification
from ..modeling.processing_vita_clip import VitaClipProcessor
from .recipe import Recipe
from .splits import TEST, TRAIN, Split, make_splits
from .study import Evaluation, describe_environment, load_processor, write_json
from .training import build_model, train_prompts

PRECISIONS = ("float32", "bfloat16", "int8")
# Of the tiny CLIP's width of 128: a quarter for the summary attention, an eighth for the class projection.
VARIANTS: dict[str, dict[str, int]] = {
    "the paper's": {},
    "compact": {"summary_attention_dim": 32, "cls_projection_rank": 16},
}


def run_variants(output: Path, recipe: Recipe, num_workers: int = 2) -> list[dict[str, Any]]:
    """
    Trains each variant once, saves it in each precision, loads it back and evaluates it. Writes `variants.json` and
    `variants.md` into `output`, the adapters into `output/adapters`.

    Returns:
        A row for each adapter: variant, precision, bytes, top-1, accuracy within reversed pairs.
    """
    processor = load_processor(recipe)
    splits = make_splits(output / "data", recipe, processor.video_processor, num_workers)
    rows = []
    for variant, fields in VARIANTS.items():
        variant_recipe = replace(recipe, prompts={**recipe.prompts, **fields})
        model = build_model(variant_recipe, splits[TRAIN].labels)
        train_prompts(model, variant_recipe, splits[TRAIN].clips, None, processor, output / "trainer")
        for precision in PRECISIONS:
            folder = output / "adapters" / f"{variant.replace(' ', '_')}-{precision}"
            model.save_pretrained(folder, adapter_dtype=precision)
            rows.append({"variant": variant, "precision": precision, **_measure(folder, splits[TEST], processor)})
    write_json(output / "variants.json", {"adapters": rows, "environment": describe_environment()})
    table = format_table(rows)
    (output / "variants.md").write_text(table, encoding="utf-8")
    print(table)
    return rows


def _measure(folder: Path, split: Split, processor: VitaClipProcessor) -> dict[str, Any]:
    """Size and accuracy of an adapter as it lies on disk."""
    model = VitaClipForVideoClassification.from_pretrained(folder)
    figures = Evaluation(predict_logits(model, split.clips, processor), split).figures()
    return {
        "bytes": (folder / ADAPTER_FILE).stat().st_size,
        "top_1": figures["top_1"],
        "within_pairs": figures["within_pairs"],
    }


def format_table(rows: list[dict[str, Any]]) -> str:
    """The rows in Markdown."""
    lines = ["| prompts | stored in | size | top-1 | within reversed pairs |", "|---|---|---|---|---|"]
    lines += [
        f"| {row['variant']} | {row['precision']} | {row['bytes'] / 1e6:.2f} MB | {100 * row['top_1']:.1f} % | "
        f"{100 * row['within_pairs']:.1f} % |"
        for row in rows
    ]
    return "\n".join(lines) + "\n"
