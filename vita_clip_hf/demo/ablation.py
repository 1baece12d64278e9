"""The paper's ablation on Motion Shapes: which prompt brings what, over several seeds."""

import json
from dataclasses import replace
from pathlib import Path
from statistics import mean, stdev
from typing import Any

from .recipe import Recipe
from .splits import TEST, TRAIN, UNSEEN_LOOKS, make_splits
from .study import (
    Evaluation,
    describe_environment,
    evaluate_frozen_clip,
    evaluate_vita_clip,
    load_processor,
    write_json,
)
from .training import build_model, train_prompts

SEEDS = (0, 1, 2)
OFF = {"use_summary_token": False, "use_global_prompts": False, "use_local_prompts": False}
FROZEN_ROW = "frozen CLIP, zero-shot"
# The paper's rows add one kind of prompt after the other; then each kind alone, beside the contexts.
ROWS: dict[str, dict[str, bool]] = {
    "contexts only": OFF,
    "+ global": {**OFF, "use_global_prompts": True},
    "+ global + local": {**OFF, "use_global_prompts": True, "use_local_prompts": True},
    "+ global + local + summary": dict.fromkeys(OFF, True),
    "+ local alone": {**OFF, "use_local_prompts": True},
    "+ summary alone": {**OFF, "use_summary_token": True},
}
FIGURES = {TEST: ("top_1", "within_pairs"), UNSEEN_LOOKS: ("top_1",)}


def run_ablation(output: Path, recipe: Recipe, num_workers: int = 2) -> dict[str, Any]:
    """
    Trains every row over `SEEDS` and writes `ablation.json` and `ablation.md` into `output`. Runs that are in
    `ablation_runs/` already, with the same recipe, are not repeated: an interrupted study goes on where it was.

    Returns:
        Mean and standard deviation of each figure by row.
    """
    processor = load_processor(recipe)
    splits = make_splits(output / "data", recipe, processor.video_processor, num_workers)
    frozen_evaluations = evaluate_frozen_clip({name: splits[name] for name in FIGURES}, processor)
    frozen = {name: evaluation.figures() for name, evaluation in frozen_evaluations.items()}
    runs = {
        row: [_run(output, replace(recipe, prompts=prompts, seed=seed), row, splits, processor) for seed in SEEDS]
        for row, prompts in ROWS.items()
    }
    table = {FROZEN_ROW: _summarise([frozen]), **{row: _summarise(results) for row, results in runs.items()}}
    write_json(output / "ablation.json", {"table": table, "runs": runs, "environment": describe_environment()})
    markdown = format_table(table)
    (output / "ablation.md").write_text(markdown, encoding="utf-8")
    print(markdown)
    return table


def _run(output: Path, recipe: Recipe, row: str, splits: dict, processor: Any) -> dict[str, Any]:
    path = output / "ablation_runs" / f"{row.replace(' ', '_')}-seed{recipe.seed}.json"
    path.parent.mkdir(parents=True, exist_ok=True)
    settings = json.loads(json.dumps(recipe.__dict__))
    if path.is_file() and (kept := json.loads(path.read_text(encoding="utf-8")))["recipe"] == settings:
        return kept["figures"]
    print(f"{row}, seed {recipe.seed}")
    model = build_model(recipe, splits[TRAIN].labels)
    train_prompts(model, recipe, splits[TRAIN].clips, None, processor, output / "trainer")
    evaluations: dict[str, Evaluation] = evaluate_vita_clip(model, splits, processor)
    figures = {name: evaluation.figures() for name, evaluation in evaluations.items()}
    write_json(path, {"recipe": settings, "figures": figures})
    return figures


def _summarise(results: list[dict[str, Any]]) -> dict[str, dict[str, float]]:
    summary = {}
    for split, names in FIGURES.items():
        for name in names:
            values = [figures[split][name] for figures in results]
            spread = stdev(values) if len(values) > 1 else 0.0
            summary[f"{split} {name}"] = {"mean": mean(values), "std": spread, "seeds": len(values)}
    return summary


def format_table(table: dict[str, dict[str, dict[str, float]]]) -> str:
    """The table in Markdown, in percent."""
    lines = [
        "| prompts | top-1 | within reversed pairs | top-1, unseen shapes and colours |",
        "|---|---|---|---|",
    ]
    for row, figures in table.items():
        cells = []
        for figure in figures.values():
            spread = f" ± {100 * figure['std']:.1f}" if figure["seeds"] > 1 else ""
            cells.append(f"{100 * figure['mean']:.1f}{spread}")
        lines.append(f"| {row} | {' | '.join(cells)} |")
    return "\n".join(lines) + "\n"
