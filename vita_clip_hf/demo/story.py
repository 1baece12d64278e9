"""
The whole story: a frozen CLIP that cannot tell moving left from moving right learns it by prompts alone, is saved as
a small adapter, is loaded back, and names the motion in a file.
"""

import time
from dataclasses import asdict
from pathlib import Path
from typing import Any

import torch

from ..data import DecodedClips
from ..modeling.adapter_file_vita_clip import ADAPTER_FILE
from ..modeling.modeling_vita_clip import VitaClipForVideoClassification
from ..modeling.processing_vita_clip import VitaClipProcessor
from ..modeling.remote_code_vita_clip import locate_base
from ..predict import predict_file
from .dataset_card import write_dataset_card
from .evaluation import evaluate_frozen_clip, evaluate_vita_clip
from .recipe import TINY_CLIP, Recipe, fast_bfloat16
from .report import draw_pictures, print_table
from .results import describe_environment, write_json
from .splits import TEST, TRAIN, make_splits
from .training import build_model, train_prompts

VALIDATION_CLIPS = 280


def load_processor(recipe: Recipe) -> VitaClipProcessor:
    """The tiny CLIP's processor, for clips of the recipe's length."""
    processor = VitaClipProcessor.from_pretrained(locate_base(TINY_CLIP))
    processor.video_processor.num_frames = recipe.num_frames
    return processor


def run_demo(output: Path, recipe: Recipe, num_workers: int = 2) -> dict[str, Any]:
    """
    Runs the demo and writes data with its card, adapter, `results.json`, the training's `log.json` and pictures into
    `output`.

    Returns:
        The content of `results.json`.

    Raises:
        RuntimeError: the adapter, loaded back from disk, has other prompts than were trained.
    """
    start = time.perf_counter()
    processor = load_processor(recipe)
    splits = make_splits(output / "data", recipe, processor.video_processor, num_workers)
    write_dataset_card(output / "data")
    data_seconds = time.perf_counter() - start

    before = evaluate_frozen_clip(splits, processor)
    model = build_model(recipe, splits[TRAIN].labels)
    # A frozen CLIP in bfloat16 saves 7 % of a step; docs/training.md, Precision, has the accuracies.
    model.cast_base(torch.bfloat16 if fast_bfloat16() else torch.float32)
    train_start = time.perf_counter()
    held_out = splits[TEST].clips
    validation = DecodedClips(held_out.pixel_values[:VALIDATION_CLIPS], held_out.labels[:VALIDATION_CLIPS])
    history = train_prompts(model, recipe, splits[TRAIN].clips, validation, processor, output / "trainer")
    train_seconds = time.perf_counter() - train_start

    adapter = output / "adapter"
    model.save_pretrained(adapter)
    processor.save_pretrained(adapter)
    reloaded = VitaClipForVideoClassification.from_pretrained(adapter).to(model.device)
    difference = _largest_difference(model, reloaded)
    if difference != 0.0:
        raise RuntimeError(f"Loaded back from disk, the prompts differ by up to {difference}.")
    after = evaluate_vita_clip(reloaded, splits, processor)

    video = splits[TEST].videos[0]
    results = {
        "frozen_clip": {name: evaluation.figures() for name, evaluation in before.items()},
        "vita_clip": {name: evaluation.figures() for name, evaluation in after.items()},
        "one_file": {"video": Path(video).name, "predictions": predict_file(adapter, video)},
        "adapter": {
            "bytes": (adapter / ADAPTER_FILE).stat().st_size,
            "base": reloaded.config.base_model_name_or_path,
            "max_prompt_difference_after_reload": difference,
        },
        "seconds": {"data": data_seconds, "training": train_seconds, "all": time.perf_counter() - start},
        "recipe": asdict(recipe),
        "environment": describe_environment(),
    }
    write_json(output / "results.json", results)
    write_json(output / "log.json", history)
    draw_pictures(output, history, before[TEST], after[TEST])
    print_table(results)
    return results


def _largest_difference(model: VitaClipForVideoClassification, reloaded: VitaClipForVideoClassification) -> float:
    """Between the trained parameters of two models; stored tensors are equal bit by bit, computed ones need not be."""
    others = dict(reloaded.named_parameters())
    trained = {name: weight for name, weight in model.named_parameters() if weight.requires_grad}
    return max((weight - others[name]).abs().max().item() for name, weight in trained.items())
