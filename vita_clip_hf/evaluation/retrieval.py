"""Text-video retrieval: every text against every video of a test set, both ways."""

from collections.abc import Sequence
from typing import Any

import torch

from ..models import VideoTextModel
from .classification import ClassTexts, score_classes
from .features import FeatureStore
from .metrics import retrieval_figures
from .protocols import Protocol

DIRECTIONS = ("text_to_video", "video_to_text")


def score_captions(
    model: VideoTextModel, store: FeatureStore, videos: Sequence[str], captions: Sequence[str], protocol: Protocol
) -> torch.Tensor:
    """
    The similarity of videos in the cache with captions, `(N, M)`, float32 on the CPU.

    The views' scores are averaged as they are: a softmax over captions would make a score depend on the others.
    """
    texts = ClassTexts([model.encode_texts(list(captions))], "captions")
    return score_classes(model, store, videos, texts, protocol.with_changes({"view_average": "logits"}))


def rank_captions(similarity: torch.Tensor, video_of_caption: Sequence[int]) -> tuple[torch.Tensor, torch.Tensor]:
    """
    Ranks from 1 of the right video for each caption, `(M,)`, and of the best of its captions for each video, `(N,)`.
    Equal scores of wrong ones count as ranked before the right one.

    Args:
        similarity: `(N, M)`.
        video_of_caption: for each caption the row of its video; a video may have several captions, or none.

    Raises:
        ValueError: a similarity is not a number.
    """
    if not similarity.isfinite().all():
        raise ValueError("Similarities must be finite numbers.")
    owners = torch.as_tensor(video_of_caption)
    is_right = owners[None, :] == torch.arange(len(similarity))[:, None]
    right = similarity[owners, torch.arange(len(owners))]
    of_captions = 1 + ((similarity >= right[None, :]) & ~is_right).sum(dim=0)
    best = similarity.masked_fill(~is_right, -torch.inf).amax(dim=1)
    of_videos = 1 + ((similarity >= best[:, None]) & ~is_right).sum(dim=1)
    return of_captions, of_videos[is_right.any(dim=1)]


def figures_of_ranks(of_captions: torch.Tensor, of_videos: torch.Tensor) -> dict[str, float]:
    """Recall at 1, 5 and 10, median and mean rank of both directions, `text_to_video_recall_at_1` and so on."""
    return {
        f"{direction}_{name}": value
        for direction, ranks in zip(DIRECTIONS, (of_captions, of_videos), strict=True)
        for name, value in retrieval_figures(ranks).items()
    }


def caption_rows(
    captions: Sequence[str], videos: Sequence[str], video_of_caption: Sequence[int], ranks: torch.Tensor
) -> list[dict[str, Any]]:
    """A row for each caption: the rank of its video."""
    return [
        {"part": "test", "video": videos[owner], "caption": caption, "rank": rank}
        for caption, owner, rank in zip(captions, video_of_caption, ranks.tolist(), strict=True)
    ]


__all__ = ["DIRECTIONS", "caption_rows", "figures_of_ranks", "rank_captions", "score_captions"]
