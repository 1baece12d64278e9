"""Text-video retrieval: every text against every video of a test set, both ways."""

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import torch

from ..models import VideoTextModel
from .classification import ClassTexts, score_classes
from .features import FeatureStore
from .protocols import Protocol


def score_captions(
    model: VideoTextModel, store: FeatureStore, videos: Sequence[str], captions: Sequence[str], protocol: Protocol
) -> torch.Tensor:
    """
    The similarity of captions with videos in the cache, `(captions, videos)`, float32 on the CPU. Captions longer than
    the model reads are cut, see [`num_cut`].

    The views' scores are averaged as they are: a softmax over captions would make a score depend on the others.
    Captions that repeat are scored once, so that they are equal to the last bit and stand in the ranking as ties.
    """
    places = {caption: place for place, caption in enumerate(dict.fromkeys(captions))}
    texts = ClassTexts([model.encode_texts(list(places), truncate=True)], "captions")
    scores = score_classes(model, store, videos, texts, replace(protocol, view_average="logits")).t()
    return scores[[places[caption] for caption in captions]]


def num_cut(model: VideoTextModel, captions: Sequence[str]) -> int:
    """How many captions have more tokens than the model reads."""
    return sum(len(ids) > model.max_text_tokens for ids in model.tokenizer(list(captions), verbose=False)["input_ids"])


def caption_rows(
    captions: Sequence[str], videos: Sequence[str], video_of_caption: Sequence[int], ranks: torch.Tensor
) -> list[dict[str, Any]]:
    """A row for each caption: the rank of its video."""
    return [
        {"part": "test", "video": videos[owner], "caption": caption, "rank": rank}
        for caption, owner, rank in zip(captions, video_of_caption, ranks.tolist(), strict=True)
    ]


__all__ = ["caption_rows", "num_cut", "score_captions"]
