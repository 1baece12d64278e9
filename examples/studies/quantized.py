"""
The frozen CLIP in fewer bits, by torchao: the predictions on Motion Shapes of prompts that were trained on it in full,
and the video features of ViT-B/16 with random weights.
"""

from collections.abc import Iterator
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import torch
from study import Figures, MotionShapes, Runs, Study, agreement, run_on_motion_shapes
from torch import nn
from torchao_quantization import QUANTIZATIONS, bytes_of_weights, torchao_config
from transformers import TorchAoConfig

from vita_clip_hf import VitaClipConfig, VitaClipForVideoClassification, VitaClipModel
from vita_clip_hf.demo.recipe import Recipe
from vita_clip_hf.evaluation.tables import markdown_table

NAME = "quantized"
RECIPE = Recipe(unseen_looks_clips=140, unseen_motions_clips=80, steps=1_100)
FLOAT32 = "float32"
VIT_B_16: dict[str, Any] = {"vision_config": {"patch_size": 16}, "text_prompt_length": 0}  # else CLIP's defaults


def loading_arguments() -> dict[str, dict[str, Any]]:
    """
    The arguments of `from_pretrained` for each base, float32 first: the others are compared with it.

    Raises:
        ImportError: torchao is missing.
    """
    plain: dict[str, dict[str, Any]] = {FLOAT32: {"dtype": torch.float32}, "bfloat16": {"dtype": torch.bfloat16}}
    quantized = {name: {"quantization_config": TorchAoConfig(torchao_config(name))} for name in QUANTIZATIONS}
    both = {f"{name}, bfloat16": {**arguments, **plain["bfloat16"]} for name, arguments in quantized.items()}
    return {**plain, **quantized, **both}


def build_study(shapes: MotionShapes, random_config: dict[str, Any] = VIT_B_16) -> Study:
    bases = loading_arguments()

    def measure(config: dict[str, Any], seed: int, folder: Path) -> Figures:
        """The figures of each base; where a base cannot be had on this machine, the reason as `note`."""
        return dict(_measure_random(config, seed, bases) if config else _measure_trained(shapes, seed, folder, bases))

    return Study(NAME, {"trained": {}, "random": random_config}, measure, format_tables, shapes.settings())


def _measure_trained(
    shapes: MotionShapes, seed: int, folder: Path, bases: dict[str, dict[str, Any]]
) -> Iterator[tuple[str, Figures]]:
    trained, _ = shapes.train(folder, seed)
    trained.save_pretrained(folder / "adapter")
    expected = torch.empty(0)
    for name, arguments in bases.items():
        model = _load(VitaClipForVideoClassification, folder / "adapter", arguments)
        if isinstance(model, ValueError):
            yield name, {"note": str(model)}
            continue
        logits, accuracies = shapes.test(model)
        expected = logits if name == FLOAT32 else expected
        yield name, {**accuracies, **agreement(logits, expected), "weight_bytes": bytes_of_weights(model)}


def _measure_random(
    fields: dict[str, Any], seed: int, bases: dict[str, dict[str, Any]]
) -> Iterator[tuple[str, Figures]]:
    """Two clips of noise through a full checkpoint with random weights."""
    torch.manual_seed(seed)
    config = VitaClipConfig(**fields, num_frames=8)
    side = config.vision_config.image_size
    clips = torch.randn(2, config.num_frames, 3, side, side)
    expected = torch.empty(0)
    with TemporaryDirectory() as folder:
        VitaClipModel(config).save_pretrained(folder)
        for name, arguments in bases.items():
            model = _load(VitaClipModel, folder, arguments)
            if isinstance(model, ValueError):
                yield name, {"note": str(model)}
                continue
            with torch.inference_mode():
                features = model.get_video_features(clips.to(model.dtype)).pooler_output
            features = features.double()  # so that a cosine near 1 is not rounded to it
            expected = features if name == FLOAT32 else expected
            least = nn.functional.cosine_similarity(features, expected).min().item()
            yield name, {"least_cosine": least, "weight_bytes": bytes_of_weights(model)}


def _load(model_class: type[VitaClipModel], path: str | Path, arguments: dict[str, Any]) -> VitaClipModel | ValueError:
    """The model in evaluation mode, or the error that says why this machine cannot have it."""
    try:
        return model_class.from_pretrained(path, **arguments).eval()
    except ValueError as error:
        return error


def format_tables(runs: Runs) -> str:
    """A table of the trained prompts and one of the random weights, without the bases that have no figures."""
    header = ["frozen CLIP in", "top-1", "within reversed pairs", "same best class", "logits differ: mean", "most"]
    trained = [
        [
            base,
            *(f"{100 * figures[name]:.1f} %" for name in ("top_1", "within_pairs", "same_best_class")),
            f"{figures['mean_logit_difference']:.3f}",
            f"{figures['largest_logit_difference']:.2f}",
            f"{figures['weight_bytes'] / 1e6:.2f} MB",
        ]
        for base, figures in _with_figures(runs["trained"])
    ]
    random = [
        [base, f"{max(0.0, 1 - figures['least_cosine']):.1e}", f"{figures['weight_bytes'] / 1e6:.0f} MB"]
        for base, figures in _with_figures(runs["random"])
    ]
    random_header = ["frozen CLIP in", "1 - least cosine of video features", "weights"]
    return f"{markdown_table([*header, 'weights'], trained)}\n{markdown_table(random_header, random)}"


def _with_figures(seeds: list[Figures]) -> Iterator[tuple[str, Figures]]:
    return ((base, figures) for seed in seeds for base, figures in seed.items() if "note" not in figures)


if __name__ == "__main__":
    run_on_motion_shapes(NAME, __doc__, build_study, RECIPE)
