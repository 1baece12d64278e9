"""Figures of merit, from logits."""

from collections.abc import Sequence

import torch


def top_k_accuracy(logits: torch.Tensor, labels: torch.Tensor, k: int = 1) -> float:
    """
    The share of clips whose class is among the `k` highest logits.

    Args:
        logits: `(N, C)`; fewer than k classes count as k.
        labels: `(N,)`.

    Returns:
        From 0 to 1.

    Raises:
        ValueError: there are no clips, or not one label for each.
    """
    if len(logits) == 0 or len(logits) != len(labels):
        raise ValueError(f"Expected as many labels as clips and at least one; found {len(labels)} and {len(logits)}.")
    return ranked_accuracy(logits.topk(min(k, logits.shape[-1]), dim=-1).indices, labels, k)


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
    For each pair of classes: the share of their clips whose own class scores above the other of the pair.

    Args:
        logits: `(N, C)`.
        labels: `(N,)`.
        pairs: of class ids.

    Returns:
        Accuracy from 0 to 1 by pair; 0.5 is chance.

    Raises:
        ValueError: a pair has no clip.
    """
    accuracies = {}
    for pair in pairs:
        of_pair = (labels[:, None] == torch.tensor(pair, device=labels.device)).any(-1)
        if not of_pair.any():
            raise ValueError(f"No clip is of the classes {pair}.")
        chosen = logits[of_pair][:, list(pair)].argmax(-1)
        is_second = labels[of_pair] == pair[1]
        accuracies[pair] = (chosen == is_second).float().mean().item()
    return accuracies


def confusion_matrix(logits: torch.Tensor, labels: torch.Tensor) -> torch.Tensor:
    """The share of clips of class i that are given class j, `(C, C)`. A row sums to 1 if the class has clips."""
    num_classes = logits.shape[-1]
    cells = labels * num_classes + logits.argmax(-1)
    counts = torch.bincount(cells, minlength=num_classes**2).view(num_classes, num_classes).float()
    return counts / counts.sum(dim=1, keepdim=True).clamp(min=1)


def mean_class_accuracy(logits: torch.Tensor, labels: torch.Tensor) -> float:
    """The mean over the classes that have clips of the share of their clips that are given their class."""
    correct = (logits.argmax(-1) == labels).double()
    return torch.stack([correct[labels == label].mean() for label in labels.unique()]).mean().item()


def harmonic_mean(first: float, second: float) -> float:
    """Of two numbers from 0; 0 if either is."""
    return 2 * first * second / (first + second) if first + second > 0 else 0.0


def bootstrap_interval(
    correct: torch.Tensor, confidence: float = 0.95, num_samples: int = 10_000, seed: int = 0
) -> tuple[float, float]:
    """The interval of the mean over resampled clips."""
    generator = torch.Generator().manual_seed(seed)
    values = correct.double()
    means = torch.cat(
        [
            values[torch.randint(len(values), (100, len(values)), generator=generator)].mean(1)
            for _ in range(num_samples // 100)
        ]
    )
    low, high = torch.quantile(means, torch.tensor([(1 - confidence) / 2, (1 + confidence) / 2], dtype=torch.double))
    return low.item(), high.item()


def paired_bootstrap(
    first: torch.Tensor, second: torch.Tensor, confidence: float = 0.95, num_samples: int = 10_000, seed: int = 0
) -> tuple[float, float]:
    """The interval of the mean difference, second - first, over resampled clips."""
    return bootstrap_interval(second.double() - first.double(), confidence, num_samples, seed)


def mcnemar(first: torch.Tensor, second: torch.Tensor) -> float:
    """The exact two-sided p-value of McNemar's test."""
    import math

    only_first, only_second = int((first & ~second).sum()), int((~first & second).sum())
    total, least = only_first + only_second, min(only_first, only_second)
    if total == 0:
        return 1.0
    return min(1.0, 2 * sum(math.comb(total, k) for k in range(least + 1)) / 2**total)


def retrieval_figures(ranks: torch.Tensor) -> dict[str, float]:
    """Recall at 1, 5 and 10, median and mean rank of ranks from 1."""
    recalls = {f"recall_at_{k}": (ranks <= k).double().mean().item() for k in (1, 5, 10)}
    return {**recalls, "median_rank": ranks.double().quantile(0.5).item(), "mean_rank": ranks.double().mean().item()}


def soft_nms(proposals, sigma):
    raise NotImplementedError


def temporal_map(ground_truth, predictions, tiou_thresholds, dedupe=False):
    raise NotImplementedError
