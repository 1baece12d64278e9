"""Metrics against counting by hand."""

import pytest
import torch

from vita_clip_hf.evaluation import (
    classification_figures,
    confusion_matrix,
    top_k_accuracy,
    within_pairs_accuracy,
)
from vita_clip_hf.evaluation.metrics import harmonic_mean, mean_class_accuracy, ranked_class_accuracy

LOGITS = torch.tensor([[3.0, 2.0, 1.0], [1.0, 3.0, 2.0], [1.0, 2.0, 3.0], [3.0, 2.0, 1.0]])
LABELS = torch.tensor([0, 2, 2, 1])


def test_top_k_counts_the_k_highest():
    assert top_k_accuracy(LOGITS, LABELS, 1) == 0.5
    assert top_k_accuracy(LOGITS, LABELS, 2) == 1.0


def test_top_5_of_fewer_classes_is_all_of_them():
    assert top_k_accuracy(LOGITS, LABELS, 5) == 1.0


def test_no_clips_or_other_counts_are_an_error():
    with pytest.raises(ValueError, match="at least one"):
        top_k_accuracy(LOGITS[:0], LABELS[:0])
    with pytest.raises(ValueError, match="found 3 and 4"):
        top_k_accuracy(LOGITS, LABELS[:3])


def test_within_pairs_compares_the_two_classes_only():
    # Clip 1 is taken for class 1 of all three, but between 0 and 2 it is rightly 2.
    assert within_pairs_accuracy(LOGITS, LABELS, [(0, 2)]) == {(0, 2): 1.0}
    assert within_pairs_accuracy(LOGITS, LABELS, [(0, 1)]) == {(0, 1): 0.5}


def test_a_pair_that_scores_the_same_is_told_apart_by_neither():
    assert within_pairs_accuracy(torch.zeros(4, 3), LABELS, [(0, 1)]) == {(0, 1): 0.0}
    nan = torch.full((4, 3), float("nan"))
    for call in (lambda: within_pairs_accuracy(nan, LABELS, [(0, 1)]), lambda: confusion_matrix(nan, LABELS)):
        with pytest.raises(ValueError, match="logits of 4 clips are NaN"):
            call()


def test_a_pair_without_clips_is_an_error():
    with pytest.raises(ValueError, match="No clip"):
        within_pairs_accuracy(LOGITS[1:3], LABELS[1:3], [(0, 1)])


def test_confusion_matrix_rows_are_shares_of_a_class():
    expected = torch.tensor([[1.0, 0, 0], [1.0, 0, 0], [0, 0.5, 0.5]])
    assert torch.equal(confusion_matrix(LOGITS, LABELS), expected)


def test_figures_leave_unreadable_videos_out():
    logits = torch.cat([LOGITS, torch.full((1, 3), 9.0)])
    labels = torch.cat([LABELS, torch.tensor([-100])])
    figures = classification_figures(logits, labels)
    loss = torch.nn.functional.cross_entropy(LOGITS, LABELS).item()
    assert figures == {"loss": pytest.approx(loss), "top_1": 0.5, "top_5": 1.0}
    with pytest.raises(ValueError, match="None of the videos"):
        classification_figures(logits[-1:], labels[-1:])


def test_a_class_that_scores_the_same_counts_as_the_better():
    """A model that tells nothing apart is right about nothing, wherever the right class stands."""
    for label in range(3):
        assert top_k_accuracy(torch.zeros(1, 3), torch.tensor([label]), 2) == 0.0
    assert top_k_accuracy(torch.tensor([[1.0, 1.0, 0.0]]), torch.tensor([0]), 2) == 1.0


@pytest.mark.parametrize(
    ("logits", "labels", "message"),
    [
        (torch.tensor([[float("nan"), 1.0]]), torch.tensor([1]), "logits of 1 clips are NaN, first those of clip 0"),
        (torch.zeros(1, 2), torch.tensor([2]), "Labels must be from 0 to 1"),
        (torch.zeros(1, 2), torch.tensor([-100]), "Labels must be from 0 to 1"),
    ],
)
def test_logits_and_labels_that_make_no_sense_are_errors(logits, labels, message):
    with pytest.raises(ValueError, match=message):
        top_k_accuracy(logits, labels)
    with pytest.raises(ValueError, match=message):
        mean_class_accuracy(logits, labels)


def test_a_k_of_zero_is_an_error():
    with pytest.raises(ValueError, match="k must be at least 1"):
        top_k_accuracy(LOGITS, LABELS, 0)


def test_mean_class_accuracy_counts_every_class_alike():
    # Class 0: its clip is right; class 1: its clip is wrong; class 2: one of two.
    assert mean_class_accuracy(LOGITS, LABELS) == pytest.approx((1 + 0 + 0.5) / 3)
    assert mean_class_accuracy(LOGITS, LABELS, 2) == 1.0
    ranks = LOGITS.argsort(descending=True)
    assert ranked_class_accuracy(ranks, LABELS) == pytest.approx(0.5)


def test_harmonic_mean():
    assert harmonic_mean([0.9, 0.45]) == pytest.approx(0.6)
    assert harmonic_mean([0.9, 0.0]) == 0.0
    for values in ([], [-0.1, 0.5], [float("nan"), 0.5]):
        with pytest.raises(ValueError, match="finite values of 0 or more"):
            harmonic_mean(values)
