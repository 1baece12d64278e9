"""
Whether a model looks at what moves: the attention on the moving shape of Motion Shapes, with prompts and without.

    python examples/studies/attention_on_shape.py --output runs/attention_on_shape

Trains prompts (`--steps`), saves them as an adapter, and compares the model with itself after `disable_adapter` on the
same clips. The measure is the share of a token's attention to patches that lies on the shape, divided by the share of
the picture that the shape covers: 1 is a token that does not care where the shape is.
"""

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from motion_combinations import Combinations, SpecifiedClips
from study import Figures, Runs, Study, study_parser

from vita_clip_hf import VitaClipForVideoClassification
from vita_clip_hf.data.normalization import PixelNormalization
from vita_clip_hf.demo.motion_shapes import shape_masks
from vita_clip_hf.demo.motions import ClipSpec
from vita_clip_hf.demo.recipe import Recipe
from vita_clip_hf.demo.story import load_processor
from vita_clip_hf.demo.training import build_model, train_prompts
from vita_clip_hf.evaluation import predict_logits, top_k_accuracy
from vita_clip_hf.evaluation.metrics import bootstrap_interval, paired_bootstrap
from vita_clip_hf.evaluation.tables import markdown_table
from vita_clip_hf.visualize import attention_maps
from vita_clip_hf.visualize.attention import CLASS, PATCHES, SUMMARY
from vita_clip_hf.visualize.figure import AFTER, BEFORE, GOOD, GREY, INK, new_figure, open_frame, save

NAME = "attention_on_shape"
RECIPE = Recipe(test_clips=100, steps=450)
ROLLOUT, LAST, MEAN = "rollout", "last layer", "mean of layers"
STYLES = {(CLASS, "prompts"): AFTER, (CLASS, "no_prompts"): BEFORE, (SUMMARY, "prompts"): GOOD}


def build_study(clips: Combinations, recipe: Recipe) -> Study:
    processor = load_processor(recipe)
    normalize = PixelNormalization.of(processor.video_processor)

    def measure(_: dict[str, Any], seed: int, folder: Path) -> Figures:
        model = build_model(replace(recipe, seed=seed), list(clips.train.motions))
        train_prompts(model, replace(recipe, seed=seed), clips.train.clips, None, processor, folder / "trainer")
        model.save_pretrained(folder / "adapter")
        processor.save_pretrained(folder / "adapter")
        model = VitaClipForVideoClassification.from_pretrained(folder / "adapter").eval()
        logits = predict_logits(model, clips.test.clips, processor)
        focus = list(_focus_of_all(model, clips.test, normalize))
        return {"top_1": top_k_accuracy(logits, clips.test.clips.labels), **_compared(focus)}

    shared = {name: getattr(recipe, name) for name in ("train_clips", "test_clips", "num_frames", "steps")}
    return Study(NAME, {"Vita-CLIP": {}}, measure, format_table, shared, draw_layers)


Focus = dict[str, dict[str, np.ndarray]]  # the measure, `(layers,)` or `()`, of one clip, by state and by token


def _focus_of_all(
    model: VitaClipForVideoClassification, clips: SpecifiedClips, normalize: PixelNormalization
) -> Iterator[Focus]:
    for pixels, spec in zip(clips.clips.pixel_values, clips.specs, strict=True):
        clip = normalize(pixels)
        found = {"prompts": focus_on_shape(model, clip, spec)}
        with model.disable_adapter():
            found["no_prompts"] = focus_on_shape(model, clip, spec)
        yield found


def focus_on_shape(model: VitaClipForVideoClassification, clip: torch.Tensor, spec: ClipSpec) -> dict[str, np.ndarray]:
    """
    The measure of a normalised clip `(T, 3, H, W)`: `(layers,)` of the class token and, if the model has one, of the
    summary token; of the rollout a number. Beside them `area`, the shape's share of the picture, and `patches`, the
    share of the class token's attention that patches get, `(layers,)`.
    """
    maps = attention_maps(model, clip)
    masks = torch.from_numpy(shape_masks(spec, len(clip), clip.shape[-1]))
    covered = torch.nn.functional.adaptive_avg_pool2d(masks, maps.grid)  # of each patch, (T, rows, columns)
    looks = {CLASS: maps.of_patches(maps.class_token), ROLLOUT: maps.rollout}
    if maps.summary_token is not None:
        looks[SUMMARY] = maps.of_patches(maps.summary_token)
    shares = {name: share_on(look, covered) / covered.mean() for name, look in looks.items()}
    patches = maps.shares(maps.class_token)[PATCHES]
    return {name: value.numpy() for name, value in {**shares, "area": covered.mean(), "patches": patches}.items()}


def share_on(look: torch.Tensor, covered: torch.Tensor) -> torch.Tensor:
    """Of attention `(..., T, rows, columns)` the share on what is covered, `(...)`: mean over frames."""
    look = look / look.sum(dim=(-2, -1), keepdim=True)
    return (look * covered).sum(dim=(-2, -1)).mean(dim=-1)


def _compared(focus: list[Focus]) -> Figures:
    """Means over clips with 95 % intervals, the differences paired by clip."""

    def values(state: str, token: str) -> np.ndarray:
        return np.stack([of_clip[state][token] for of_clip in focus])

    figures: Figures = {"area": float(values("prompts", "area").mean())}
    figures["patches"] = {state: values(state, "patches").mean(axis=0).tolist() for state in ("prompts", "no_prompts")}
    for token in (CLASS, ROLLOUT, SUMMARY):
        states = {state: values(state, token) for state in ("prompts", "no_prompts") if token in focus[0][state]}
        figures[token] = {name: _with_intervals(each) for name, each in _parts(states)}
    return figures


def _parts(states: dict[str, np.ndarray]) -> Iterator[tuple[str, dict[str, np.ndarray]]]:
    """Of `(N, layers)` each layer, the last one and their mean; `(N,)` as they are."""
    if next(iter(states.values())).ndim == 1:
        yield ROLLOUT, states
        return
    for layer in range(next(iter(states.values())).shape[1]):
        yield f"layer {layer + 1}", {state: values[:, layer] for state, values in states.items()}
    yield LAST, {state: values[:, -1] for state, values in states.items()}
    yield MEAN, {state: values.mean(axis=1) for state, values in states.items()}


def _with_intervals(states: dict[str, np.ndarray]) -> Figures:
    found: Figures = {
        state: dict(zip(("mean", "low", "high"), (float(values.mean()), *bootstrap_interval(values)), strict=True))
        for state, values in states.items()
    }
    if len(states) == 2:
        paired = paired_bootstrap(states["no_prompts"], states["prompts"])
        found["difference"] = {"mean": paired.difference, "low": paired.low, "high": paired.high}
    return found


def format_table(runs: Runs) -> str:
    """The measure with its 95 % intervals, of the first seed."""
    ((figures, *_),) = runs.values()
    rows = []
    for token, part in ((CLASS, LAST), (CLASS, MEAN), (ROLLOUT, ROLLOUT), (SUMMARY, LAST), (SUMMARY, MEAN)):
        found = figures[token][part]
        cells = [_cell(found.get(state)) for state in ("prompts", "no_prompts", "difference")]
        rows.append([token if token == part else f"{token}, {part}", *cells])
    return markdown_table(["attention of", "with prompts", "without", "difference, by clip"], rows)


def _cell(found: Figures | None) -> str:
    return "" if found is None else f"{found['mean']:.2f} ({found['low']:.2f} to {found['high']:.2f})"


def draw_layers(runs: Runs, path: Path) -> None:
    """The measure by layer, with its intervals, of the first seed."""
    ((figures, *_),) = runs.values()
    figure = new_figure(7, 3.6)
    axis = figure.add_subplot()
    for (token, state), color in STYLES.items():
        layers = [figures[token][name][state] for name in figures[token] if name.startswith("layer ")]
        places = range(1, len(layers) + 1)
        label = f"{token}, {'with' if state == 'prompts' else 'without'} prompts"
        axis.plot(places, [layer["mean"] for layer in layers], color=color, marker="o", markersize=4, label=label)
        bounds = ([layer[name] for layer in layers] for name in ("low", "high"))
        axis.fill_between(places, *bounds, color=color, alpha=0.2, linewidth=0)
    axis.axhline(1, color=GREY, linestyle="--", linewidth=1, label="attention that ignores the shape")
    axis.set_xlabel("layer")
    axis.set_xticks(list(places))
    axis.set_ylabel("attention on the shape / its area")
    axis.set_ylim(bottom=0)
    axis.set_title("Attention on the moving shape, in multiples of its share of the picture", fontsize=10, color=INK)
    axis.legend(frameon=False, fontsize=8)
    open_frame(axis)
    save(figure, path)


def main() -> None:
    """The command line."""
    parser = study_parser(NAME, __doc__)
    parser.add_argument("--steps", type=int, default=RECIPE.steps, help="of the training (default: %(default)s)")
    options = parser.parse_args()
    recipe = replace(RECIPE, steps=options.steps)
    clips = Combinations(recipe.train_clips, recipe.test_clips, recipe.num_frames)
    build_study(clips, recipe).run(options.output, options.seeds)


if __name__ == "__main__":
    main()
