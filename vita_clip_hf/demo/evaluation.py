"""The demo's figures: of the frozen CLIP, of Vita-CLIP by its learned contexts, and zero-shot."""

from dataclasses import dataclass
from typing import Any

import torch

from ..evaluation import embed_labels, predict_logits, top_k_accuracy, within_pairs_accuracy
from ..modeling.configuration_vita_clip import NO_PROMPTS
from ..modeling.modeling_vita_clip import VitaClipModel
from ..modeling.processing_vita_clip import VitaClipProcessor
from .recipe import TEMPLATES, TINY_CLIP
from .splits import TEST, UNSEEN_LOOKS, UNSEEN_MOTION_NAMES, Split


@dataclass(frozen=True)
class Evaluation:
    """The logits `(N, C)` of a split, and the accuracies that follow from them."""

    logits: torch.Tensor
    split: Split

    def figures(self) -> dict[str, Any]:
        """top-1, top-5, the accuracy within reversed pairs (mean and each), and chance."""
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


def evaluate(model: VitaClipModel, split: Split, processor: VitaClipProcessor) -> Evaluation:
    """A model on a split, by its own labels and learned contexts."""
    return Evaluation(predict_logits(model, split.clips, processor), split)


def evaluate_zero_shot(model: VitaClipModel, split: Split, processor: VitaClipProcessor) -> Evaluation:
    """A model on a split, by the split's class names in templates: no learned contexts."""
    texts = embed_labels(model, processor.tokenizer, split.labels, TEMPLATES)
    return Evaluation(predict_logits(model, split.clips, processor, texts), split)


def evaluate_frozen_clip(splits: dict[str, Split], processor: VitaClipProcessor) -> dict[str, Evaluation]:
    """The tiny CLIP without prompts, on all splits but the training's: the mean of its frame embeddings."""
    model = VitaClipModel.from_pretrained(TINY_CLIP, **NO_PROMPTS)
    return {
        name: evaluate_zero_shot(model, splits[name], processor) for name in (TEST, UNSEEN_LOOKS, UNSEEN_MOTION_NAMES)
    }


def evaluate_vita_clip(
    model: VitaClipModel, splits: dict[str, Split], processor: VitaClipProcessor
) -> dict[str, Evaluation]:
    """By learned contexts on the motions that were trained, by templates on those that were not."""
    evaluations = {name: evaluate(model, splits[name], processor) for name in (TEST, UNSEEN_LOOKS)}
    evaluations[UNSEEN_MOTION_NAMES] = evaluate_zero_shot(model, splits[UNSEEN_MOTION_NAMES], processor)
    return evaluations
