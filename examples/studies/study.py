"""
The skeleton of every study: rows times seeds, each run kept on disk, then one JSON file and one table.

    python examples/studies/ablation.py --output runs/ablation

writes `ablation_runs/ROW-seedN/` for each run, then `ablation.json` and `ablation.md`. An interrupted study goes on
where it was: a run whose `figures.json` names the same settings is not repeated.
"""

import argparse
import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from functools import cached_property
from pathlib import Path
from typing import Any

import torch
from vita_clip_hf.modeling.adapter_file_vita_clip import written_whole

from vita_clip_hf import VitaClipForVideoClassification, VitaClipProcessor
from vita_clip_hf.demo.evaluation import evaluate
from vita_clip_hf.demo.recipe import Recipe
from vita_clip_hf.demo.results import describe_environment, write_json
from vita_clip_hf.demo.splits import TEST, TRAIN, Split, make_splits
from vita_clip_hf.demo.story import load_processor
from vita_clip_hf.demo.training import build_model, train_prompts

Figures = dict[str, Any]
Runs = dict[str, list[Figures]]  # the figures of each seed, by row


@dataclass(frozen=True)
class Study:
    """
    Args:
        name: of the files that `run` writes.
        rows: the settings of each row, values of JSON.
        measure: runs one row with one seed, `(settings, seed, folder) -> figures`. The folder is the run's own; the
            figures are values of JSON.
        format_table: all runs to Markdown.
        shared: settings that all rows have in common, values of JSON.
        draw: draws all runs into a PNG file.
    """

    name: str
    rows: Mapping[str, dict[str, Any]]
    measure: Callable[[dict[str, Any], int, Path], Figures]
    format_table: Callable[[Runs], str]
    shared: dict[str, Any] = field(default_factory=dict)
    draw: Callable[[Runs, Path], None] | None = None

    def run(self, output: Path, seeds: Sequence[int] = (0,)) -> Runs:
        """Runs what is not in `output` yet, writes JSON, table and picture, and prints the table."""
        runs = {row: [self._kept_or_measured(output, row, seed) for seed in seeds] for row in self.rows}
        content = {**self.shared, "seeds": list(seeds), "runs": runs, "environment": describe_environment()}
        write_json(output / f"{self.name}.json", content)
        table = self.format_table(runs)
        with written_whole(output / f"{self.name}.md") as file:
            file.write_text(table, encoding="utf-8")
        if self.draw is not None:
            self.draw(runs, output / f"{self.name}.png")
        print(table)
        return runs

    def _kept_or_measured(self, output: Path, row: str, seed: int) -> Figures:
        folder = output / f"{self.name}_runs" / f"{row.replace(' ', '_')}-seed{seed}"
        path = folder / "figures.json"
        settings = json.loads(json.dumps({**self.shared, "row": self.rows[row], "seed": seed}))  # tuples to lists
        if path.is_file() and (kept := json.loads(path.read_text(encoding="utf-8")))["settings"] == settings:
            return kept["figures"]
        print(f"{row}, seed {seed}")
        folder.mkdir(parents=True, exist_ok=True)
        figures = self.measure(self.rows[row], seed, folder)
        write_json(path, {"settings": settings, "figures": figures})
        return json.loads(path.read_text(encoding="utf-8"))["figures"]


class MotionShapes:
    """The demo's clips, processor and training, for studies; clips are written and decoded at their first use."""

    def __init__(self, output: Path, recipe: Recipe, num_workers: int = 2):
        self.output, self.recipe, self.num_workers = output, recipe, num_workers

    @cached_property
    def processor(self) -> VitaClipProcessor:
        return load_processor(self.recipe)

    @cached_property
    def splits(self) -> dict[str, Split]:
        return make_splits(self.output / "data", self.recipe, self.processor.video_processor, self.num_workers)

    def settings(self) -> dict[str, Any]:
        """The recipe without its seed, which is an axis of the study."""
        return {"recipe": {name: value for name, value in asdict(self.recipe).items() if name != "seed"}}

    def train(
        self,
        folder: Path,
        seed: int,
        prompts: Mapping[str, Any] | None = None,
        base_dtype: torch.dtype = torch.float32,
        bf16: bool | None = None,
    ) -> tuple[VitaClipForVideoClassification, list[dict[str, float]]]:
        """
        Trains prompts on the training split.

        Args:
            folder: the Trainer's files go to its `trainer/`.
            seed: in place of the recipe's.
            prompts: fields of `VitaClipConfig`.
            base_dtype: of the frozen CLIP.
            bf16: train under bfloat16 autocast; by default where that is faster.

        Returns:
            The model, and the Trainer's log.
        """
        recipe = replace(self.recipe, prompts={**self.recipe.prompts, **(prompts or {})}, seed=seed)
        train = self.splits[TRAIN]
        model = build_model(recipe, train.labels)
        model.cast_base(base_dtype)
        return model, train_prompts(model, recipe, train.clips, None, self.processor, folder / "trainer", bf16=bf16)

    def test(self, model: VitaClipForVideoClassification) -> tuple[torch.Tensor, dict[str, float]]:
        """Logits `(N, C)` of the held-out clips; top-1 and the accuracy within reversed pairs."""
        evaluation = evaluate(model, self.splits[TEST], self.processor)
        figures = evaluation.figures()
        return evaluation.logits, {name: figures[name] for name in ("top_1", "within_pairs")}


def agreement(logits: torch.Tensor, expected: torch.Tensor) -> dict[str, float]:
    """How far two models' predictions of the same clips, `(N, C)`, are from each other."""
    differences = (logits - expected).abs()
    return {
        "same_best_class": (logits.argmax(-1) == expected.argmax(-1)).float().mean().item(),
        "mean_logit_difference": differences.mean().item(),
        "largest_logit_difference": differences.max().item(),
    }


def study_parser(name: str, description: str | None, seeds: Sequence[int] = (0,)) -> argparse.ArgumentParser:
    """The options that all studies have."""
    formatter = argparse.RawDescriptionHelpFormatter
    parser = argparse.ArgumentParser(description=description, formatter_class=formatter)
    folder = Path("runs") / name
    parser.add_argument("--output", type=Path, default=folder, help="folder (default: %(default)s)")
    parser.add_argument(
        "--seeds", type=int, nargs="+", default=list(seeds), help="of the trainings (default: %(default)s)"
    )
    return parser


def run_on_motion_shapes(
    name: str,
    description: str | None,
    build: Callable[[MotionShapes], Study],
    recipe: Recipe,
    seeds: Sequence[int] = (0,),
) -> None:
    """The command line of a study on Motion Shapes."""
    parser = study_parser(name, description, seeds)
    parser.add_argument("--num-workers", type=int, default=2, help="workers for video files (default: %(default)s)")
    options = parser.parse_args()
    build(MotionShapes(options.output, recipe, options.num_workers)).run(options.output, options.seeds)
