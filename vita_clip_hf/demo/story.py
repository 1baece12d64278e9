"""
The whole story: a frozen CLIP that cannot tell moving left from moving right learns it by prompts alone, is saved as
a small adapter, is loaded back, and names the motion in a file.
"""

import time
from dataclasses import asdict
from pathlib import Path
from typing import Any

from ..data import DecodedClips
from ..modeling.adapter_vita_clip import ADAPTER_FILE, locate_base
from ..modeling.modeling_vita_clip import VitaClipForVideoClassification
from ..modeling.processing_vita_clip import VitaClipProcessor
from ..predict import predict_file
from .evaluation import evaluate, evaluate_frozen_clip, evaluate_vita_clip
from .recipe import TINY_CLIP, Recipe
from .report import draw_pictures, print_table
from .results import describe_environment, write_json
from .splits import TEST, TRAIN, make_splits
from .training import build_model, train_prompts

VALIDATION_CLIPS = 280
# The stored prompts are equal bit by bit; sums over them may be rounded differently at other addresses in memory.
LOGIT_TOLERANCE = 1e-3


def load_processor(recipe: Recipe) -> VitaClipProcessor:
    """The tiny CLIP's processor, for clips of the recipe's length."""
    processor = VitaClipProcessor.from_pretrained(locate_base(TINY_CLIP))
    processor.video_processor.num_frames = recipe.num_frames
    return processor


def run_demo(output: Path, recipe: Recipe, num_workers: int = 2) -> dict[str, Any]:
    """
    Runs the demo and writes data, adapter, `results.json`, the training's `log.json` and pictures into `output`.

    Returns:
        The content of `results.json`.

    Raises:
        RuntimeError: the adapter, loaded back from disk, gives other logits than before.
    """
    start = time.perf_counter()
    processor = load_processor(recipe)
    splits = make_splits(output / "data", recipe, processor.video_processor, num_workers)
    data_seconds = time.perf_counter() - start

    before = evaluate_frozen_clip(splits, processor)
    model = build_model(recipe, splits[TRAIN].labels)
    train_start = time.perf_counter()
    held_out = splits[TEST].clips
    validation = DecodedClips(held_out.pixel_values[:VALIDATION_CLIPS], held_out.labels[:VALIDATION_CLIPS])
    history = train_prompts(model, recipe, splits[TRAIN].clips, validation, processor, output / "trainer")
    train_seconds = time.perf_counter() - train_start
    after = evaluate_vita_clip(model, splits, processor)

    adapter = output / "adapter"
    model.save_pretrained(adapter)
    processor.save_pretrained(adapter)
    # The same attention as before: another implementation rounds differently.
    attention = model.config._attn_implementation
    del model
    reloaded = VitaClipForVideoClassification.from_pretrained(adapter, attn_implementation=attention)
    again = evaluate(reloaded, splits[TEST], processor)
    difference = (again.logits - after[TEST].logits).abs().max().item()
    if difference > LOGIT_TOLERANCE:
        raise RuntimeError(f"Loaded back from disk, the adapter gives logits that differ by up to {difference}.")

    video = splits[TEST].videos[0]
    results = {
        "frozen_clip": {name: evaluation.figures() for name, evaluation in before.items()},
        "vita_clip": {name: evaluation.figures() for name, evaluation in after.items()},
        "one_file": {"video": Path(video).name, "predictions": predict_file(adapter, video)},
        "adapter": {
            "bytes": (adapter / ADAPTER_FILE).stat().st_size,
            "base": reloaded.config.base_model_name_or_path,
            "max_logit_difference_after_reload": difference,
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
