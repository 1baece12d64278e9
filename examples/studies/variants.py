"""Adapters of every size on Motion Shapes: what the compact variant and each storage precision cost in accuracy."""

from pathlib import Path
from typing import Any

from study import Figures, MotionShapes, Runs, Study, run_on_motion_shapes
from vita_clip_hf.modeling.adapter_file_vita_clip import ADAPTER_FILE

from vita_clip_hf import VitaClipForVideoClassification
from vita_clip_hf.demo.recipe import Recipe
from vita_clip_hf.evaluation.tables import markdown_table

NAME = "variants"
RECIPE = Recipe(steps=1_100)
# Of the tiny CLIP's width of 96: a third for the summary attention, a sixth for the class projection.
ROWS: dict[str, dict[str, int]] = {
    "the paper's": {},
    "compact": {"summary_attention_dim": 32, "cls_projection_rank": 16},
}
PRECISIONS = ("float32", "bfloat16", "int8")


def build_study(shapes: MotionShapes) -> Study:
    def measure(prompts: dict[str, Any], seed: int, folder: Path) -> Figures:
        """Trains once, saves in each precision, and measures each adapter as it is loaded from disk."""
        model, _ = shapes.train(folder, seed, prompts)
        figures = {}
        for precision in PRECISIONS:
            adapter = folder / precision
            model.save_pretrained(adapter, adapter_dtype=precision)
            _, accuracies = shapes.test(VitaClipForVideoClassification.from_pretrained(adapter))
            figures[precision] = {"bytes": (adapter / ADAPTER_FILE).stat().st_size, **accuracies}
        return figures

    return Study(NAME, ROWS, measure, format_table, shapes.settings())


def format_table(runs: Runs) -> str:
    """A row for each adapter."""
    rows = [
        [
            variant,
            precision,
            f"{figures['bytes'] / 1e6:.2f} MB",
            f"{100 * figures['top_1']:.1f} %",
            f"{100 * figures['within_pairs']:.1f} %",
        ]
        for variant, seeds in runs.items()
        for of_seed in seeds
        for precision, figures in of_seed.items()
    ]
    return markdown_table(["prompts", "stored in", "size", "top-1", "within reversed pairs"], rows)


if __name__ == "__main__":
    run_on_motion_shapes(NAME, __doc__, build_study, RECIPE)
