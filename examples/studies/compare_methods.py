"""
Vita-CLIP and its neighbours on Motion Shapes, from one tiny CLIP: what each learns, and what it forgets.

    python examples/studies/compare_methods.py --output runs/compare_methods

Every training sees the same number of clips. First each method's learning rate is chosen: by trainings of a third of
the length, judged on clips of their own (`learning_rates`). Then there are three parts, each with a JSON file and a
table: `supervised` (and what is left of the frozen CLIP's zero-shot abilities, and combinations of shape and motion
that training lacks), `base_to_novel` (16 clips of each of seven motions), and `few_shot` (16 clips of each motion, for
the two best). An interrupted study goes on where it was.
"""

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from statistics import mean
from typing import Any

import torch
from contenders import CONTENDERS, FROZEN, Contender, Judged, build, count_trained, train
from datasets import ClassLabel, Dataset
from motion_combinations import ATTRIBUTES, Combinations, SpecifiedClips
from study import Figures, Runs, Study, study_parser

from vita_clip_hf.data.normalization import PixelNormalization
from vita_clip_hf.data.splits import draw_shots
from vita_clip_hf.demo.motions import MOTIONS, TRAIN_COLORS, TRAIN_SHAPES, with_article
from vita_clip_hf.demo.recipe import Recipe
from vita_clip_hf.demo.story import load_processor
from vita_clip_hf.evaluation import top_k_accuracy
from vita_clip_hf.evaluation.metrics import harmonic_mean
from vita_clip_hf.evaluation.studies import draw_study, study_runs, study_tables
from vita_clip_hf.models import VideoFeatures

NAME, SEEDS, SHOTS, BATCH_SIZE = "compare_methods", (0, 1, 2), 16, 64
RECIPE = Recipe(train_clips=7_000, test_clips=1_400, steps=450)
# A few clips are seen often: a shorter training, the same for all.
FEW_SHOT_STEPS = RECIPE.steps // 2
BASE = ("moving left", "moving right", "growing", "shrinking", "appearing", "disappearing", "standing still")
NOVEL = tuple(motion for motion in MOTIONS if motion not in BASE)
CAPTIONS = tuple(
    f"{with_article(f'{color} {shape}')} {motion}"
    for color in TRAIN_COLORS
    for shape in TRAIN_SHAPES
    for motion in MOTIONS
)


@dataclass
class Comparison:
    """
    The study.

    Args:
        clips: the splits.
        recipe: the training.
        few_shot_steps: of a training on few clips.
        contenders: by name.
    """

    clips: Combinations
    recipe: Recipe
    few_shot_steps: int
    contenders: Mapping[str, Contender]

    def __post_init__(self) -> None:
        self.processor = load_processor(self.recipe)

    def run(self, output: Path, seeds: Sequence[int]) -> dict[str, Runs]:
        """Runs all parts, and keeps what is in `output` already."""
        rates = self._study("learning_rates", self._tries(), self.measure_rate, rates_table).run(output, seeds[:1])
        found = {"learning_rates": rates}
        rows = self._rows_at_best_rates(rates)
        supervised = self._study("supervised", rows, self.measure_supervised, supervised_table)
        supervised = replace(supervised, draw=draw)
        found["supervised"] = supervised.run(output, seeds)
        base_to_novel = self._study("base_to_novel", rows, self.measure_base_to_novel, base_to_novel_table)
        found["base_to_novel"] = base_to_novel.run(output, seeds)
        best = two_best(found["supervised"], self.contenders)
        few_shot = self._study("few_shot", {name: rows[name] for name in best}, self.measure_few_shot, few_shot_table)
        found["few_shot"] = few_shot.run(output, seeds)
        return found

    def _tries(self) -> dict[str, dict[str, Any]]:
        """Every contender that has a choice of rates, with each of them."""
        return {
            f"{name}, {rate:g}": self._row(name, rate)
            for name, contender in self.contenders.items()
            for rate in contender.rates
            if len(contender.rates) > 1
        }

    def _rows_at_best_rates(self, tried: Runs) -> dict[str, dict[str, Any]]:
        """The contenders' rows, each with the rate of the highest accuracy on the validation clips."""

        def accuracy(name: str, rate: float) -> float:
            return tried[f"{name}, {rate:g}"][0]["top_1"]

        rows = {}
        for name, contender in self.contenders.items():
            rates = contender.rates
            best = rates[0] if len(rates) == 1 else max(rates, key=lambda rate, name=name: accuracy(name, rate))
            rows[name] = self._row(name, best)
        return rows

    def _row(self, name: str, rate: float) -> dict[str, Any]:
        contender = self.contenders[name]
        facts = {"kind": contender.kind, "fields": dict(contender.fields), "template": contender.template}
        return {"name": name, **facts, "learning_rate": rate}

    def _study(
        self, part: str, rows: Mapping[str, dict[str, Any]], measure: Any, format_table: Callable[[Runs], str]
    ) -> Study:
        steps = {"supervised": self.recipe.steps, "learning_rates": self.recipe.steps // 3}.get(
            part, self.few_shot_steps
        )
        recipe = {name: getattr(self.recipe, name) for name in ("num_frames", "batch_size", "weight_decay")}
        sizes = {"train_clips": self.clips.train_clips, "test_clips": self.clips.test_clips, "shots": SHOTS}
        shared = {**recipe, **sizes, "steps": steps, "clips_seen": steps * self.recipe.batch_size}
        return Study(part, rows, measure, format_table, shared)

    # ---- one run ----

    def _train(
        self, row: Mapping[str, Any], seed: int, folder: Path, clips: SpecifiedClips, steps: int
    ) -> tuple[Judged, Figures]:
        contender = self.contenders[row["name"]]
        model = build(contender, clips.motions, self.recipe.num_frames, seed, self.processor.tokenizer)
        recipe = replace(self.recipe, steps=steps, seed=seed, learning_rate=row["learning_rate"])
        start = time.process_time()  # not disturbed by what else the machine does
        train(contender, model, recipe, clips.clips, self.processor, folder)
        facts = {"cpu_seconds": round(time.process_time() - start, 1), "parameters": count_trained(model)}
        return Judged.of(contender, model, clips.motions, self.processor.tokenizer), facts

    @torch.no_grad()
    def _encode(self, judged: Judged, clips: SpecifiedClips) -> list[VideoFeatures]:
        """The clips in batches, once for all texts."""
        normalize = PixelNormalization.of(self.processor.video_processor)
        batches = clips.clips.pixel_values.split(BATCH_SIZE)
        return [judged.model.encode_videos(normalize(batch, judged.model.dtype)) for batch in batches]

    @torch.no_grad()
    def _score(self, judged: Judged, encoded: list[VideoFeatures], texts: torch.Tensor) -> torch.Tensor:
        """`(N, C)`."""
        return torch.cat([judged.model.logits(features, texts) for features in encoded])

    def _accuracy(self, judged: Judged, clips: SpecifiedClips, texts: torch.Tensor) -> float:
        return top_k_accuracy(self._score(judged, self._encode(judged, clips), texts), clips.clips.labels)

    def measure_rate(self, row: dict[str, Any], seed: int, folder: Path) -> Figures:
        """A short training on all motions, judged on clips of its own."""
        judged, facts = self._train(row, seed, folder, self.clips.train, self.recipe.steps // 3)
        top_1 = self._accuracy(judged, self.clips.validation, judged.own_classes())
        return {**facts, "top_1": top_1, "chance_top_1": 1 / len(MOTIONS)}

    def measure_supervised(self, row: dict[str, Any], seed: int, folder: Path) -> Figures:
        """All motions, all training clips."""
        judged, facts = self._train(row, seed, folder, self.clips.train, self.recipe.steps)
        own, captions = judged.own_classes(), judged.texts(CAPTIONS)
        figures: Figures = {}
        for split, clips in (("seen", self.clips.test), ("unseen", self.clips.unseen)):
            encoded = self._encode(judged, clips)
            figures[f"{split}_top_1"] = top_k_accuracy(self._score(judged, encoded, own), clips.clips.labels)
            found = caption_accuracies(self._score(judged, encoded, captions), clips)
            figures |= {f"{split}_{name}": value for name, value in found.items()}
            if split == "seen":
                figures["retained"] = {name: self._retained(judged, encoded, name) for name in ATTRIBUTES}
        return {**facts, **figures, "retention": mean(figures["retained"].values())}

    def _retained(self, judged: Judged, encoded: list[VideoFeatures], name: str) -> float:
        """How often a still attribute of the test clips is named right."""
        attribute = ATTRIBUTES[name]
        values = [attribute.value(spec) for spec in self.clips.test.specs]
        known = [row for row, value in enumerate(values) if value is not None]
        logits = self._score(judged, encoded, judged.texts(attribute.texts))
        return top_k_accuracy(logits[known], torch.tensor([values[row] for row in known]))

    def measure_base_to_novel(self, row: dict[str, Any], seed: int, folder: Path) -> Figures:
        """`SHOTS` clips of each base motion; the novel ones by name."""
        drawn = draw_of_each_motion(self.clips.train.of_motions(BASE), SHOTS, seed)
        judged, facts = self._train(row, seed, folder, drawn, self.few_shot_steps)
        base = self._accuracy(judged, self.clips.test.of_motions(BASE), judged.own_classes())
        novel = self._accuracy(judged, self.clips.test.of_motions(NOVEL), judged.names(NOVEL))
        return {**facts, "base": base, "novel": novel, "harmonic_mean": harmonic_mean([base, novel])}

    def measure_few_shot(self, row: dict[str, Any], seed: int, folder: Path) -> Figures:
        """`SHOTS` clips of each motion."""
        drawn = draw_of_each_motion(self.clips.train, SHOTS, seed)
        judged, facts = self._train(row, seed, folder, drawn, self.few_shot_steps)
        own = judged.own_classes()
        found = {"top_1": self.clips.test, "unseen_top_1": self.clips.unseen}
        figures = {name: self._accuracy(judged, clips, own) for name, clips in found.items()}
        return {**facts, **figures, "chance_top_1": 1 / len(MOTIONS)}


def draw_of_each_motion(clips: SpecifiedClips, shots: int, seed: int) -> SpecifiedClips:
    """The clips that `vita-clip train --shots` would draw."""
    rows = {"video": [f"{row:06d}.mp4" for row in range(len(clips.specs))], "label": clips.clips.labels.tolist()}
    listed = Dataset.from_dict(rows).cast_column("label", ClassLabel(names=list(clips.motions)))
    return clips.select([int(Path(video).stem) for video in draw_shots(listed, shots, seed)["video"]])


def caption_accuracies(logits: torch.Tensor, clips: SpecifiedClips) -> dict[str, float]:
    """
    From logits of all `CAPTIONS`: `caption`, how often the whole caption is right; `motion`, how often the motion is,
    among the captions with the right colour and shape.
    """
    by_look = logits.unflatten(1, (len(TRAIN_COLORS), len(TRAIN_SHAPES), len(MOTIONS)))
    looks = [(TRAIN_COLORS.index(spec.color), TRAIN_SHAPES.index(spec.shape)) for spec in clips.specs]
    colors, shapes = torch.tensor(looks).unbind(dim=1)
    labels = clips.clips.labels
    right = (colors * len(TRAIN_SHAPES) + shapes) * len(MOTIONS) + labels
    of_true_look = by_look[torch.arange(len(labels)), colors, shapes]
    return {"caption": top_k_accuracy(logits, right), "motion": top_k_accuracy(of_true_look, labels)}


def two_best(supervised: Runs, contenders: Mapping[str, Contender]) -> list[str]:
    """The two trained methods with the highest mean top-1."""
    trained = [name for name in contenders if contenders[name].kind != FROZEN]
    ranked = sorted(trained, key=lambda name: -mean(figures["seen_top_1"] for figures in supervised[name]))
    return ranked[:2]


# ---- tables: those of `vita-clip compare`, without the differences ----


def tables(*figures: str) -> Callable[[Runs], str]:
    """The tables of some figures."""
    return lambda runs: study_tables(study_runs(NAME, runs), ["parameters", *figures, "cpu_seconds"])


rates_table = tables("top_1")
supervised_table = tables(
    *("seen_top_1", "unseen_top_1", "unseen_motion", "unseen_caption", "seen_caption", "retention"),
    *(f"retained/{name}" for name in ATTRIBUTES),
)
base_to_novel_table = tables("base", "novel", "harmonic_mean")
few_shot_table = tables("top_1", "unseen_top_1")


def draw(runs: Runs, path: Path) -> None:
    """The picture of `vita-clip compare`: what is learned against what is kept."""
    draw_study(study_runs(NAME, runs), path)


def main() -> None:
    """The command line."""
    parser = study_parser(NAME, __doc__, SEEDS)
    parser.add_argument(
        "--steps", type=int, default=RECIPE.steps, help="of a training on all clips (default: %(default)s)"
    )
    parser.add_argument(
        "--few-shot-steps", type=int, default=FEW_SHOT_STEPS, help="of one on few clips (default: %(default)s)"
    )
    options = parser.parse_args()
    recipe = replace(RECIPE, steps=options.steps)
    clips = Combinations(recipe.train_clips, recipe.test_clips, recipe.num_frames)
    Comparison(clips, recipe, options.few_shot_steps, CONTENDERS).run(options.output, options.seeds)


if __name__ == "__main__":
    main()
