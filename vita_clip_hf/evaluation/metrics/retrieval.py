"""
Figures of retrieval, from similarities.

The rule for ties: a wrong candidate that is as similar as the right one counts as found before it. So a query has one
rank, equal candidates (repeated captions) never help, and a model that finds everything alike comes last.
"""

from collections.abc import Sequence

import torch

KS = (1, 5, 10)

Targets = Sequence[int | Sequence[int]] | torch.Tensor


def retrieval_ranks(similarity: torch.Tensor, targets: Targets | None = None) -> torch.Tensor:
    """
    The rank of the right candidate for each query, from 1: one more than the number of wrong candidates that are as
    similar or more.

    Args:
        similarity: of queries and candidates, `(Q, N)`; higher is more similar.
        targets: the number of the right candidate of each query, or numbers of several, of which the best ranked
            counts. By default candidate i for query i.

    Returns:
        int64 `(Q,)`.

    Raises:
        ValueError: there are no queries, a similarity is NaN, or a query has no target or one that is no candidate.
    """
    if similarity.ndim != 2 or 0 in similarity.shape:
        shape = tuple(similarity.shape)
        raise ValueError(f"Expected similarities of queries and candidates, at least one; found the shape {shape}.")
    if similarity.isnan().any():
        bad = similarity.isnan().any(-1).nonzero().flatten()
        raise ValueError(f"The similarities of {len(bad)} queries are NaN, first those of query {int(bad[0])}.")
    is_right = _right_candidates(similarity.shape, targets).to(similarity.device)
    best_right = similarity.masked_fill(~is_right, -torch.inf).amax(dim=-1, keepdim=True)
    return ((similarity >= best_right) & ~is_right).sum(-1) + 1


def retrieval_figures(
    similarity: torch.Tensor, targets: Targets | None = None, ks: Sequence[int] = KS
) -> dict[str, float]:
    """
    Recall and ranks of one direction of retrieval.

    Args:
        similarity, targets: as for [`retrieval_ranks`].
        ks: of the recalls.

    Returns:
        `recall_at_K` for each k, the share from 0 to 1 of queries whose right candidate is among the first k;
        `median_rank` (of an even number of queries the mean of the middle two) and `mean_rank`.

    Raises:
        ValueError: as [`retrieval_ranks`], or a k is below 1.
    """
    if any(k < 1 for k in ks):
        raise ValueError(f"ks must be 1 or more, found {list(ks)}.")
    ranks = retrieval_ranks(similarity, targets).double()
    recalls = {f"recall_at_{k}": (ranks <= k).double().mean().item() for k in ks}
    return {**recalls, "median_rank": ranks.quantile(0.5).item(), "mean_rank": ranks.mean().item()}


def retrieval_both_ways(
    similarity: torch.Tensor, video_of_text: Sequence[int] | torch.Tensor | None = None, ks: Sequence[int] = KS
) -> dict[str, float]:
    """
    Text-to-video and video-to-text retrieval.

    Args:
        similarity: of texts and videos, `(texts, videos)`.
        video_of_text: the video that each text is of; a video may have several texts, of which the best ranked counts.
            By default text i is of video i.
        ks: of the recalls.

    Returns:
        The figures of [`retrieval_figures`] with the prefixes `text_to_video_` and `video_to_text_`.

    Raises:
        ValueError: as [`retrieval_figures`], or a video has no text.
    """
    owners = range(len(similarity)) if video_of_text is None else [int(video) for video in video_of_text]
    texts_of_video: list[list[int]] = [[] for _ in range(similarity.shape[-1])]
    to_video = retrieval_figures(similarity, list(owners), ks)
    for text, video in enumerate(owners):
        texts_of_video[video].append(text)
    to_text = retrieval_figures(similarity.t(), texts_of_video, ks)
    return {
        **{f"text_to_video_{name}": figure for name, figure in to_video.items()},
        **{f"video_to_text_{name}": figure for name, figure in to_text.items()},
    }


def _right_candidates(shape: torch.Size, targets: Targets | None) -> torch.Tensor:
    """Which candidates are right for each query, `(Q, N)`."""
    num_queries, num_candidates = shape
    targets = range(num_queries) if targets is None else targets
    if len(targets) != num_queries:
        raise ValueError(f"Expected a target for each of {num_queries} queries, found {len(targets)}.")
    is_right = torch.zeros(shape, dtype=torch.bool)
    for query, target in enumerate(targets):
        numbers = torch.as_tensor(target).flatten().tolist()
        if not numbers or any(number not in range(num_candidates) for number in numbers):
            raise ValueError(
                f"Query {query} has the targets {numbers}; expected at least one, of 0 to {num_candidates - 1}."
            )
        is_right[query, [int(number) for number in numbers]] = True
    return is_right


__all__ = ["retrieval_both_ways", "retrieval_figures", "retrieval_ranks"]
