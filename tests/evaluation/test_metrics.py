"""Metrics against counting by hand."""

import pytest
import torch

from vita_clip_hf.evaluation import confusion_matrix, top_k_accuracy, within_pairs_accuracy

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


def test_a_pair_without_clips_is_an_error():
    with pytest.raises(ValueError, match="No clip"):
        within_pairs_accuracy(LOGITS[1:3], LABELS[1:3], [(0, 1)])


def test_confusion_matrix_rows_are_shares_of_a_class():
    expected = torch.tensor([[1.0, 0, 0], [1.0, 0, 0], [0, 0.5, 0.5]])
    assert torch.equal(confusion_matrix(LOGITS, LABELS), expected)
