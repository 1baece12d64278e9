"""
The frozen CLIP in fewer bits: what that does to the predictions of prompts trained on it in full, on Motion Shapes;
and to the video features of ViT-B/16 with random weights.
"""

import json
from collections.abc import Iterator
from dataclasses import asdict
from importlib.metadata import version
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import torch
from torch import nn
from transformers import TorchAoConfig

from ..benchmark.sizes import vita_config
from ..evaluation import predict_logits
from ..modeling.modeling_vita_clip import VitaClipForVideoClassification, VitaClipModel
from ..modeling.processing_vita_clip import VitaClipProcessor
from ..quantization import QUANTIZATIONS, bytes_of_weights, torchao_config
from .recipe import Recipe
from .splits import TEST, TRAIN, Split, make_splits
from .study import Evaluation, describe_environment, load_processor, write_json
from .training import build_model, train_prompts

FLOAT32 = "float32"
RANDOM_SIZE, RANDOM_CLIPS, RANDOM_FRAMES = "base-16", 2, 8


def loading_arguments() -> dict[str, dict[str, Any]]:
    """
    What `from_pretrained` is given in each row.

    Raises:
        ImportError: torchao is missing.
    """
    plain: dict[str, dict[str, Any]] = {FLOAT32: {"dtype": torch.float32}, "bfloat16": {"dtype": torch.bfloat16}}
    quantized = {name: {"quantization_config": TorchAoConfig(torchao_config(name))} for name in QUANTIZATIONS}
    both = {f"{name}, bfloat16": {**arguments, **plain["bfloat16"]} for name, arguments in quantized.items()}
    return {**plain, **quantized, **both}


def run_quantized(
    output: Path, recipe: Recipe, num_workers: int = 2, random_size: str = RANDOM_SIZE
) -> dict[str, list[dict[str, Any]]]:
    """
    Trains an adapter, loads it on a base in each precision and evaluates it. Writes `quantized.json` and
    `quantized.md` into `output`. An adapter that is in `quantized_adapter/` already, from the same recipe, is not
    trained again.

    Returns:
        `trained`: a row for each precision, with accuracies, agreement with float32's predictions, differences of
        logits, bytes of the weights; `random`: the same for features of `random_size` with random weights. A row that
        cannot be had here says why in `note`.

    Raises:
        ImportError: torchao is missing.
    """
    rows_wanted = loading_arguments()
    processor = load_processor(recipe)
    splits = make_splits(output / "data", recipe, processor.video_processor, num_workers)
    adapter = _kept_or_trained(output / "quantized_adapter", recipe, splits, processor)
    trained = list(_measure_trained(adapter, splits[TEST], processor, rows_wanted))
    random = list(_measure_random(random_size, rows_wanted))
    environment = {**describe_environment(), "torchao": version("torchao")}
    content = {"trained": trained, "random": random, "recipe": asdict(recipe), "environment": environment}
    write_json(output / "quantized.json", content)
    table = f"{format_trained(trained)}\n{format_random(random)}"
    (output / "quantized.md").write_text(table, encoding="utf-8")
    print(table)
    return {"trained": trained, "random": random}


def _kept_or_trained(folder: Path, recipe: Recipe, splits: dict[str, Split], processor: VitaClipProcessor) -> Path:
    path = folder / "recipe.json"
    if path.is_file() and json.loads(path.read_text(encoding="utf-8")) == asdict(recipe):
        return folder
    model = build_model(recipe, splits[TRAIN].labels)
    train_prompts(model, recipe, splits[TRAIN].clips, None, processor, folder / "trainer")
    model.save_pretrained(folder)
    write_json(path, asdict(recipe))
    return folder


def _load(model_class: type[VitaClipModel], path: str | Path, arguments: dict[str, Any]) -> VitaClipModel | ValueError:
    """The model in evaluation, or why there can be none here."""
    try:
        return model_class.from_pretrained(path, **arguments).eval()
    except ValueError as error:
        return error


def _measure_trained(
    adapter: Path, split: Split, processor: VitaClipProcessor, rows: dict[str, dict[str, Any]]
) -> Iterator[dict[str, Any]]:
    """float32 first: the others are compared with it."""
    expected = torch.empty(0)
    for name, arguments in rows.items():
        model = _load(VitaClipForVideoClassification, adapter, arguments)
        if isinstance(model, ValueError):
            yield {"base": name, "note": str(model)}
            continue
        logits = predict_logits(model, split.clips, processor)
        expected = logits if name == FLOAT32 else expected
        figures = Evaluation(logits, split).figures()
        yield {
            "base": name,
            "top_1": figures["top_1"],
            "within_pairs": figures["within_pairs"],
            "same_best_class": (logits.argmax(-1) == expected.argmax(-1)).float().mean().item(),
            "mean_logit_difference": (logits - expected).abs().mean().item(),
            "largest_logit_difference": (logits - expected).abs().max().item(),
            "weight_bytes": bytes_of_weights(model),
        }


def _measure_random(size: str, rows: dict[str, dict[str, Any]]) -> Iterator[dict[str, Any]]:
    """Normally distributed clips through a full checkpoint with random weights."""
    torch.manual_seed(0)
    config = vita_config(size, RANDOM_FRAMES, classes=1, contexts=0)
    side = config.vision_config.image_size
    clips = torch.randn(RANDOM_CLIPS, RANDOM_FRAMES, 3, side, side)
    with TemporaryDirectory() as folder:
        VitaClipModel(config).save_pretrained(folder)
        expected = torch.empty(0)
        for name, arguments in rows.items():
            model = _load(VitaClipModel, folder, arguments)
            if isinstance(model, ValueError):
                yield {"base": name, "note": str(model)}
                continue
            features = _features(model, clips)
            expected = features if name == FLOAT32 else expected
            cosines = nn.functional.cosine_similarity(features, expected)
            yield {"base": name, "least_cosine": cosines.min().item(), "weight_bytes": bytes_of_weights(model)}


@torch.inference_mode()
def _features(model: VitaClipModel, clips: torch.Tensor) -> torch.Tensor:
    """`(B, D')` in float64, so that a cosine near 1 is not rounded to it."""
    return model.get_video_features(clips.to(model.dtype)).pooler_output.double()


def format_trained(rows: list[dict[str, Any]]) -> str:
    """The rows in Markdown; those without figures are left to the JSON."""
    lines = [
        "| frozen CLIP in | top-1 | within reversed pairs | same best class | logits differ: mean | most | weights |",
        "|---|---|---|---|---|---|---|",
    ]
    lines += [
        f"| {row['base']} | {100 * row['top_1']:.1f} % | {100 * row['within_pairs']:.1f} % | "
        f"{100 * row['same_best_class']:.1f} % | {row['mean_logit_difference']:.3f} | "
        f"{row['largest_logit_difference']:.2f} | {row['weight_bytes'] / 1e6:.2f} MB |"
        for row in rows
        if "top_1" in row
    ]
    return "\n".join(lines) + "\n"


def format_random(rows: list[dict[str, Any]]) -> str:
    """The rows in Markdown; those without figures are left to the JSON."""
    lines = ["| frozen CLIP in | 1 - least cosine of video features | weights |", "|---|---|---|"]
    lines += [
        f"| {row['base']} | {max(0.0, 1 - row['least_cosine']):.1e} | {row['weight_bytes'] / 1e6:.0f} MB |"
        for row in rows
        if "least_cosine" in row
    ]
    return "\n".join(lines) + "\n"
