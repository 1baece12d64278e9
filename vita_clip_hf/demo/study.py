"""
The whole story: a frozen CLIP that cannot tell moving left from moving right learns it from prompts alone, keeps what
it knew, is saved as a small adapter, loaded back, and names the motion in a file.
"""

import json
import time
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import torch
import transformers

from ..evaluation import embed_labels, predict_logits, top_k_accuracy, within_pairs_accuracy
from ..modeling.adapter_file_vita_clip import ADAPTER_FILE
from ..modeling.adapters_vita_clip import NO_PROMPTS
from ..modeling.modeling_vita_clip import VitaClipForVideoClassification, VitaClipModel
from ..modeling.processing_vita_clip import VitaClipProcessor
from ..modeling.remote_code_vita_clip import locate_base
from ..predict import predict_file
from .recipe import TEMPLATES, TINY_CLIP, Recipe, fast_bfloat16
from .report import draw_pictures, print_table
from .splits import TEST, TRAIN, UNSEEN_LOOKS, UNSEEN_MOTION_NAMES, Split, make_splits
from .training import build_model, train_prompts

VALIDATION_CLIPS = 280


@dataclass(frozen=True)
class Evaluation:
    """Logits of a split, and the accuracies that follow from them."""

    logits: torch.Tensor
    split: Split

    def figures(self) -> dict[str, Any]:
        """top-1, top-5, within reversed pairs (mean and each), and chance."""
        labels, names = self.split.clips.labels, self.split.labels
        pairs = within_pairs_accuracy(self.logits, labels, self.split.pairs)
        return {
            "clips": len(labels),
            "top_1": top_k_accuracy(self.logits, labels),
            "top_5": top_k_accuracy(self.logits, labels, 5),
            "chance_top_1": 1 / len(names),
            "chance_top_5": 5 / len(names),
            "within_pairs": sum(pairs.values()) / len(pairs),
            "each_pair": {f"{names[a]} / {names[b]}": accuracy for (a, b), accuracy in pairs.items()},
        }


def load_processor(recipe: Recipe) -> VitaClipProcessor:
    """The tiny CLIP's processor, for clips of the demo's length."""
    processor = VitaClipProcessor.from_pretrained(locate_base(TINY_CLIP))
    processor.video_processor.num_frames = recipe.num_frames
    return processor


def run_demo(output: Path, recipe: Recipe, num_workers: int = 2) -> dict[str, Any]:
    """
    Runs the demo and writes data, adapter, `results.json`, the training's `log.json` and pictures into `output`.

    Returns:
        What is in `results.json`.

    Raises:
        RuntimeError: the adapter, loaded back from disk, does not give the logits that it gave before.
    """
    start = time.perf_counter()
    processor = load_processor(recipe)
    splits = make_splits(output / "data", recipe, processor.video_processor, num_workers)
    data_seconds = time.perf_counter() - start

    before = evaluate_frozen_clip({name: split for name, split in splits.items() if name != TRAIN}, processor)
    model = build_model(recipe, splits[TRAIN].labels)
    train_start = time.perf_counter()
    history = train_prompts(
        model, recipe, splits[TRAIN].clips, _first(splits[TEST], VALIDATION_CLIPS), processor, output / "trainer"
    )
    train_seconds = time.perf_counter() - train_start
    after = evaluate_vita_clip(model, splits, processor)

    adapter = output / "adapter"
    model.save_pretrained(adapter)
    processor.save_pretrained(adapter)
    attention = model.config._attn_implementation
    del model
    # The same attention as before: another one rounds differently.
    reloaded = VitaClipForVideoClassification.from_pretrained(adapter, attn_implementation=attention)
    difference = _largest_difference(reloaded, splits[TEST], processor, after[TEST].logits)
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
        "seconds": {
            "data": data_seconds,
            "training": train_seconds,
            "all": time.perf_counter() - start,
        },
        "recipe": asdict(recipe),
        "environment": describe_environment(),
    }
    write_json(output / "results.json", results)
    write_json(output / "log.json", history)
    draw_pictures(output, history, before[TEST], after[TEST], splits[TEST])
    print_table(results)
    return results


def evaluate_frozen_clip(splits: dict[str, Split], processor: VitaClipProcessor) -> dict[str, Evaluation]:
    """The tiny CLIP as it is: the mean of its frame embeddings against the class names in templates."""
    model = VitaClipModel.from_pretrained(TINY_CLIP, **NO_PROMPTS)
    return {name: evaluate_zero_shot(model, split, processor) for name, split in splits.items()}


def evaluate_zero_shot(model: VitaClipModel, split: Split, processor: VitaClipProcessor) -> Evaluation:
    """A model against the split's class names in templates, learned contexts aside."""
    texts = embed_labels(model, processor.tokenizer, split.labels, TEMPLATES)
    return Evaluation(predict_logits(model, split.clips, processor, texts), split)


def evaluate_vita_clip(
    model: VitaClipModel, splits: dict[str, Split], processor: VitaClipProcessor
) -> dict[str, Evaluation]:
    """By learned contexts on the motions that were trained, by templates on those that were not."""
    evaluations = {
        name: Evaluation(predict_logits(model, splits[name].clips, processor), splits[name])
        for name in (TEST, UNSEEN_LOOKS)
    }
    evaluations[UNSEEN_MOTION_NAMES] = evaluate_zero_shot(model, splits[UNSEEN_MOTION_NAMES], processor)
    return evaluations


def _largest_difference(
    model: VitaClipModel, split: Split, processor: VitaClipProcessor, expected: torch.Tensor
) -> float:
    difference = (predict_logits(model, split.clips, processor) - expected).abs().max().item()
    if difference > 1e-3:  # logits are up to 100; weights that lie elsewhere in memory change less than 1e-5 of that
        raise RuntimeError(f"Loaded back from disk, the adapter gives logits that differ by up to {difference}.")
    return difference


def _first(split: Split, count: int):
    clips = split.clips
    return type(clips)(clips.pixel_values[:count], clips.labels[:count])


def describe_environment() -> dict[str, Any]:
    """What figures depend on beside the recipe."""
    return {
        "torch": torch.__version__,
        "transformers": transformers.__version__,
        "threads": torch.get_num_threads(),
        "device": "cuda" if torch.cuda.is_available() else "cpu",
        "training_precision": "bfloat16" if fast_bfloat16() else "float32",
    }


def write_json(path: Path, content: Any) -> None:
    """Writes a file whole or not at all."""
    temporary = path.with_suffix(".tmp")
    temporary.write_text(json.dumps(content, indent=2) + "\n", encoding="utf-8")
    temporary.replace(path)
