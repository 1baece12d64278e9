"""The paper's ablation on Motion Shapes: which prompt brings what, over several seeds."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

from study import Figures, MotionShapes, Runs, Study, run_on_motion_shapes

from vita_clip_hf.demo.evaluation import evaluate_frozen_clip, evaluate_vita_clip
from vita_clip_hf.demo.recipe import Recipe
from vita_clip_hf.demo.splits import TEST, UNSEEN_LOOKS
from vita_clip_hf.evaluation.tables import in_percent, markdown_table, mean_and_deviation
from vita_clip_hf.visualize.comparison import draw_accuracies

NAME, SEEDS = "ablation", (0, 1, 2)
RECIPE = Recipe(steps=600)  # eighteen trainings, which are compared with each other: each shorter than the demo's
OFF = {"use_summary_token": False, "use_global_prompts": False, "use_local_prompts": False}
# The paper's rows add one kind of prompt after the other; then each kind alone, beside the contexts.
ROWS: dict[str, dict[str, Any]] = {
    "frozen CLIP, zero-shot": {"frozen": True},
    "contexts only": OFF,
    "+ global": {**OFF, "use_global_prompts": True},
    "+ global + local": {**OFF, "use_global_prompts": True, "use_local_prompts": True},
    "+ global + local + summary": dict.fromkeys(OFF, True),
    "+ local alone": {**OFF, "use_local_prompts": True},
    "+ summary alone": {**OFF, "use_summary_token": True},
}
COLUMNS = {
    "top-1": (TEST, "top_1"),
    "within reversed pairs": (TEST, "within_pairs"),
    "top-1, unseen shapes and colours": (UNSEEN_LOOKS, "top_1"),
}


def build_study(shapes: MotionShapes) -> Study:
    def measure(prompts: dict[str, Any], seed: int, folder: Path) -> Figures:
        if prompts.get("frozen"):
            evaluations = evaluate_frozen_clip(shapes.splits, shapes.processor)
        else:
            model, _ = shapes.train(folder, seed, prompts)
            evaluations = evaluate_vita_clip(model, shapes.splits, shapes.processor)
        return {name: evaluation.figures() for name, evaluation in evaluations.items()}

    return Study(NAME, ROWS, measure, format_table, shapes.settings(), draw)


def format_table(runs: Runs) -> str:
    """Mean and standard deviation over seeds, in percent."""

    def cells(figures: list[Figures]) -> Iterator[str]:
        for split, name in COLUMNS.values():
            yield in_percent([of_seed[split][name] for of_seed in figures])

    return markdown_table(["prompts", *COLUMNS], [[row, *cells(figures)] for row, figures in runs.items()])


def draw(runs: Runs, path: Path) -> None:
    """The columns of the table, each row with its deviations."""
    draw_accuracies(
        {
            row: {
                title: mean_and_deviation([of_seed[split][name] for of_seed in figures])
                for title, (split, name) in COLUMNS.items()
            }
            for row, figures in runs.items()
        },
        path,
    )


if __name__ == "__main__":
    run_on_motion_shapes(NAME, __doc__, build_study, RECIPE, SEEDS)
