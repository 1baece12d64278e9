"""Figures of classification, from logits."""

import math
from collections.abc import Sequence

import torch


def top_k_accuracy(logits: torch.Tensor, labels: torch.Tensor, k: int = 1) -> float:
    """
    The share of clips whose class is among the `k` highest logits. A class that scores the same as the right one
    counts as the better of the two, so that a model that tells nothing apart is not right by the order of its classes.

    Args:
        logits: `(N, C)`; fewer than k classes count as k.
        labels: `(N,)`.

    Returns:
        From 0 to 1.

    Raises:
        ValueError: there are no clips, not one label for each, a label without a logit, or a logit that is NaN.
    """
    return _is_among_best(logits, labels, k).double().mean().item()


def ranked_class_accuracy(ranks: torch.Tensor, labels: torch.Tensor, k: int = 1) -> float:
    """The mean over the classes that have clips of the [`ranked_accuracy`] of their clips; from 0 to 1."""
    shares = [ranked_accuracy(ranks[labels == label], labels[labels == label], k) for label in labels.unique()]
    return sum(shares) / len(shares)


def mean_class_accuracy(logits: torch.Tensor, labels: torch.Tensor, k: int = 1) -> float:
    """
    The mean over the classes of the share of their clips that are right by [`top_k_accuracy`]: every class counts
    alike, however many clips it has.

    Args:
        logits: `(N, C)`.
        labels: `(N,)`. Classes without a clip do not count.

    Returns:
        From 0 to 1.

    Raises:
        ValueError: as [`top_k_accuracy`].
    """
    is_right = _is_among_best(logits, labels, k).double()
    shares = [is_right[labels == label].mean() for label in labels.unique()]
    return torch.stack(shares).mean().item()


def harmonic_mean(values: Sequence[float]) -> float:
    """
    The harmonic mean, of base-to-novel accuracies for example; 0 if one of them is 0.

    Raises:
        ValueError: there are no values, or one is negative, infinite or NaN.
    """
    if not len(values) or not all(math.isfinite(value) and value >= 0 for value in values):
        raise ValueError(f"Expected finite values of 0 or more, at least one; found {list(values)}.")
    return 0.0 if min(values) == 0 else len(values) / sum(1 / value for value in values)


def _check_not_nan(logits: torch.Tensor) -> None:
    if logits.isnan().any():
        bad = logits.isnan().any(-1).nonzero().flatten()
        raise ValueError(f"The logits of {len(bad)} clips are NaN, first those of clip {int(bad[0])}.")


def _is_among_best(logits: torch.Tensor, labels: torch.Tensor, k: int) -> torch.Tensor:
    """Whether the right class of each clip is among the k best, `(N,)`."""
    if len(logits) == 0 or len(logits) != len(labels):
        raise ValueError(f"Expected as many labels as clips and at least one; found {len(labels)} and {len(logits)}.")
    if k < 1:
        raise ValueError(f"k must be at least 1, found {k}.")
    if int(labels.min()) < 0 or int(labels.max()) >= logits.shape[-1]:
        raise ValueError(
            f"Labels must be from 0 to {logits.shape[-1] - 1}, as there are {logits.shape[-1]} logits; found "
            f"{int(labels.min())} to {int(labels.max())}."
        )
    _check_not_nan(logits)
    num_before = (logits >= logits.take_along_dim(labels[:, None], dim=-1)).sum(-1) - 1
    return num_before < min(k, logits.shape[-1])


def ranked_accuracy(ranks: torch.Tensor, labels: torch.Tensor, k: int = 1) -> float:
    """
    The share of clips whose class is among the first `k` of a ranking.

    Args:
        ranks: class ids, best first, `(N, K)`; a k above K counts as K.
        labels: `(N,)`.

    Returns:
        From 0 to 1.
    """
    return (ranks[:, :k] == labels[:, None]).any(-1).double().mean().item()


def classification_figures(logits: torch.Tensor, labels: torch.Tensor) -> dict[str, float]:
    """
    The figures of an evaluation on all clips at once, so that batches and processes make no difference.

    Args:
        logits: `(N, C)`.
        labels: `(N,)`. Clips with a label below 0 are left out: their videos could not be read.

    Returns:
        `loss`, the mean cross-entropy, and `top_1` and `top_5` from 0 to 1.

    Raises:
        ValueError: no clip is left.
    """
    logits, labels = logits[labels >= 0], labels[labels >= 0]
    if not len(labels):
        raise ValueError("None of the videos to evaluate on could be read.")
    loss = torch.nn.functional.cross_entropy(logits.double(), labels).item()
    return {"loss": loss, "top_1": top_k_accuracy(logits, labels), "top_5": top_k_accuracy(logits, labels, 5)}


def within_pairs_accuracy(
    logits: torch.Tensor, labels: torch.Tensor, pairs: Sequence[tuple[int, int]]
) -> dict[tuple[int, int], float]:
    """
    For each pair of classes: the share of their clips whose own class scores above the other of the pair; equal scores
    are wrong.

    Args:
        logits: `(N, C)`.
        labels: `(N,)`.
        pairs: of class ids.

    Returns:
        Accuracy from 0 to 1 by pair; 0.5 is chance.

    Raises:
        ValueError: a pair has no clip, or a logit is NaN.
    """
    _check_not_nan(logits)
    accuracies = {}
    for pair in pairs:
        of_pair = (labels[:, None] == torch.tensor(pair, device=labels.device)).any(-1)
        if not of_pair.any():
            raise ValueError(f"No clip is of the classes {pair}.")
        first, second = logits[of_pair][:, list(pair)].unbind(-1)
        is_right = torch.where(labels[of_pair] == pair[0], first > second, second > first)
        accuracies[pair] = is_right.float().mean().item()
    return accuracies


def confusion_matrix(logits: torch.Tensor, labels: torch.Tensor) -> torch.Tensor:
    """
    The share of clips of class i that are given class j, `(C, C)`. A row sums to 1 if the class has clips.

    Raises:
        ValueError: a logit is NaN.
    """
    _check_not_nan(logits)
    num_classes = logits.shape[-1]
    cells = labels * num_classes + logits.argmax(-1)
    counts = torch.bincount(cells, minlength=num_classes**2).view(num_classes, num_classes).float()
    return counts / counts.sum(dim=1, keepdim=True).clamp(min=1)
