"""Retrieval against counting by hand: ranks, ties, several right candidates."""

import pytest
import torch

from vita_clip_hf.evaluation.metrics import retrieval_both_ways, retrieval_figures, retrieval_ranks


def counted_rank(row: list[float], right: set[int]) -> int:
    best = max(row[i] for i in right)
    return 1 + sum(1 for i, score in enumerate(row) if i not in right and score >= best)


def test_ranks_count_the_wrong_candidates_before_the_right_one():
    similarity = torch.tensor([[0.9, 0.1, 0.3], [0.9, 0.1, 0.3], [0.3, 0.2, 0.1]])
    assert retrieval_ranks(similarity).tolist() == [1, 3, 3]
    assert retrieval_ranks(similarity, [1, 0, 2]).tolist() == [3, 1, 3]


def test_a_tie_counts_against_the_query():
    """Equal candidates, as repeated captions are, and a model that finds everything alike, are not flattered."""
    assert retrieval_ranks(torch.zeros(4, 4)).tolist() == [4, 4, 4, 4]
    assert retrieval_ranks(torch.tensor([[0.5, 0.5, 0.1]]), [0]).tolist() == [2]
    figures = retrieval_figures(torch.zeros(4, 4))
    assert figures["recall_at_1"] == 0.0
    assert figures["median_rank"] == figures["mean_rank"] == 4.0


def test_random_similarities_with_ties_and_several_targets_equal_counting():
    generator = torch.Generator().manual_seed(0)
    similarity = torch.randint(0, 6, (40, 12), generator=generator).double()
    targets = [sorted({i % 12, (5 * i + 1) % 12}) for i in range(40)]
    expected = [counted_rank(row.tolist(), set(target)) for row, target in zip(similarity, targets, strict=True)]
    assert retrieval_ranks(similarity, targets).tolist() == expected
    figures = retrieval_figures(similarity, targets, (1, 3))
    assert figures["recall_at_3"] == pytest.approx(sum(rank <= 3 for rank in expected) / 40)
    assert figures["mean_rank"] == pytest.approx(sum(expected) / 40)
    middle = sorted(expected)[19:21]
    assert figures["median_rank"] == pytest.approx(sum(middle) / 2)


def test_the_other_right_candidates_do_not_count_before_the_best():
    assert retrieval_ranks(torch.tensor([[0.9, 0.9, 0.5]]), [[0, 1]]).tolist() == [1]


def test_both_directions_of_videos_with_several_texts():
    similarity = torch.tensor([[0.9, 0.5], [0.2, 0.4], [0.1, 0.3]])  # texts 0 and 1 are of video 0
    figures = retrieval_both_ways(similarity, [0, 0, 1], ks=(1, 2))
    assert figures["text_to_video_recall_at_1"] == pytest.approx(2 / 3)
    assert figures["text_to_video_mean_rank"] == pytest.approx(4 / 3)
    assert figures["video_to_text_recall_at_1"] == 0.5
    assert figures["video_to_text_recall_at_2"] == 0.5  # video 1's text has rank 3
    square = torch.eye(3)
    assert retrieval_both_ways(square)["video_to_text_median_rank"] == 1.0


@pytest.mark.parametrize(
    ("similarity", "targets", "message"),
    [
        (torch.tensor([[0.1, float("nan")]]), [0], "similarities of 1 queries are NaN, first those of query 0"),
        (torch.zeros(0, 3), None, "at least one"),
        (torch.zeros(3), None, "at least one"),
        (torch.zeros(2, 3), [0], "a target for each of 2 queries, found 1"),
        (torch.zeros(1, 3), [3], r"targets \[3\]; expected at least one, of 0 to 2"),
        (torch.zeros(1, 3), [[]], "at least one, of 0 to 2"),
        (torch.zeros(1, 3), [0.5], r"targets \[0.5\]"),
        (torch.zeros(3, 2), None, r"Query 2 has the targets \[2\]"),
    ],
)
def test_input_that_makes_no_sense_is_an_error(similarity, targets, message):
    with pytest.raises(ValueError, match=message):
        retrieval_ranks(similarity, targets)


def test_a_k_of_zero_and_a_video_without_text_are_errors():
    with pytest.raises(ValueError, match="ks must be 1 or more"):
        retrieval_figures(torch.eye(2), ks=(0,))
    with pytest.raises(ValueError, match="Query 1 has the targets"):
        retrieval_both_ways(torch.zeros(2, 2), [0, 0])
