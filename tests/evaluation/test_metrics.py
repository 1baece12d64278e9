"""Metrics against counting by hand."""

from pathlib import Path

import evaluate
import pytest
import torch

from vita_clip_hf.evaluation import (
    classification_figures,
    confusion_matrix,
    metrics,
    top_k_accuracy,
    within_pairs_accuracy,
)

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


def test_figures_leave_unreadable_videos_out():
    logits = torch.cat([LOGITS, torch.full((1, 3), 9.0)])
    labels = torch.cat([LABELS, torch.tensor([-100])])
    figures = classification_figures(logits, labels)
    loss = torch.nn.functional.cross_entropy(LOGITS, LABELS).item()
    assert figures == {"loss": pytest.approx(loss), "top_1": 0.5, "top_5": 1.0}
    with pytest.raises(ValueError, match="None of the videos"):
        classification_figures(logits[-1:], labels[-1:])


def test_the_module_for_evaluate_gives_the_same_figures():
    module = evaluate.load(str(Path(metrics.__file__).parent / "top_k_accuracy"), keep_in_memory=True)
    ranks = LOGITS.argsort(descending=True)
    expected = {f"top_{k}_accuracy": top_k_accuracy(LOGITS, LABELS, k) for k in (1, 2, 5)}
    assert module.compute(predictions=ranks, references=LABELS, k=(1, 2, 5)) == expected
