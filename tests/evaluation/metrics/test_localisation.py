"""Temporal localisation: ActivityNet's evaluator's own figures, an independent count, proposals and suppression."""

import json
import math
import random
from pathlib import Path

import numpy as np
import pytest
from golden_files import GOLDEN_DIR

from vita_clip_hf.evaluation.metrics import (
    ACTIVITYNET_THRESHOLDS,
    THUMOS_THRESHOLDS,
    average_precisions,
    proposals_from_scores,
    soft_nms,
    temporal_iou,
    temporal_map,
)

GOLDEN = json.loads((Path(GOLDEN_DIR) / "activitynet_map.json").read_text())


def events_of(case: dict, subset: str = "validation") -> dict:
    database = case["ground_truth"]["database"]
    return {
        video: [(*event["segment"], event["label"]) for event in entry["annotations"]]
        for video, entry in database.items()
        if entry["subset"] == subset
    }


def predictions_of(case: dict) -> dict:
    return {
        video: [(*found["segment"], found["label"], found["score"]) for found in of_video]
        for video, of_video in case["prediction"]["results"].items()
    }


@pytest.mark.parametrize("name", sorted(GOLDEN))
def test_figures_equal_activitynets_evaluator(name):
    case = GOLDEN[name]
    found = temporal_map(events_of(case), predictions_of(case), case["tiou_thresholds"])
    assert list(found) == case["tiou_thresholds"]
    np.testing.assert_allclose(list(found.values()), case["mAP"], atol=1e-12)
    by_label = average_precisions(events_of(case), predictions_of(case), case["tiou_thresholds"])
    assert by_label.keys() == case["AP_by_label"].keys()
    for label, expected in case["AP_by_label"].items():
        np.testing.assert_allclose(list(by_label[label].values()), expected, atol=1e-12)


def test_thresholds_are_those_of_the_evaluators():
    assert list(ACTIVITYNET_THRESHOLDS) == GOLDEN["activitynet_style"]["tiou_thresholds"]
    assert list(THUMOS_THRESHOLDS) == GOLDEN["thumos_style"]["tiou_thresholds"]


def counted_map(events: dict, predictions: dict, threshold: float) -> float:
    """Mean average precision by walking down each class's ranking: precision at each recall, best from there on."""
    labels = {label for of_video in events.values() for *_, label in of_video}
    precisions = []
    for label in labels:
        wanted = [(video, s, e) for video, of_video in events.items() for s, e, name in of_video if name == label]
        ranking = sorted(
            ((score, video, s, e) for video, of in predictions.items() for s, e, name, score in of if name == label),
            reverse=True,
        )
        free, hits = list(wanted), []
        for _, video, start, end in ranking:
            overlaps = [
                (max(0.0, min(end, e) - max(start, s)) / (max(end, e) - min(start, s)), (v, s, e))
                for v, s, e in free
                if v == video and min(end, e) > max(start, s)
            ]
            best = max(overlaps, default=(0.0, None))
            hits.append(best[0] >= threshold)
            if hits[-1]:
                free.remove(best[1])
        curve = [sum(hits[: n + 1]) / (n + 1) for n in range(len(hits))]
        precisions.append(sum(max(curve[n:]) for n, hit in enumerate(hits) if hit) / len(wanted))
    return sum(precisions) / len(precisions)


@pytest.mark.parametrize("seed", range(5))
def test_random_segments_equal_an_independent_count(seed):
    draw = random.Random(seed)
    events, predictions = {}, {}
    for number in range(12):
        starts = [draw.uniform(0, 60) for _ in range(draw.randrange(1, 5))]
        events[f"v{number}"] = [(s, s + draw.uniform(1, 20), draw.choice("abc")) for s in starts]
        near = [(s + draw.gauss(0, 1), e + draw.gauss(0, 1), name) for s, e, name in events[f"v{number}"]]
        far = [(s, s + 9, draw.choice("abc")) for s in (draw.uniform(0, 60) for _ in range(4))]
        predictions[f"v{number}"] = [(min(s, e), max(s, e), name, draw.random()) for s, e, name in near + far]
    found = temporal_map(events, predictions, (0.3, 0.5, 0.7))
    for threshold, figure in found.items():
        assert figure == pytest.approx(counted_map(events, predictions, threshold))


def test_a_tiou_equal_to_the_threshold_counts():
    assert temporal_map({"v": [(0, 2, "a")]}, {"v": [(0, 1, "a", 1.0)]}, [0.5, 0.51]) == {0.5: 1.0, 0.51: 0.0}


def test_one_event_is_found_once():
    events, twice = {"v": [(0, 2, "a"), (5, 6, "a")]}, {"v": [(0, 2, "a", 0.9), (0, 2, "a", 0.8)]}
    assert temporal_map(events, twice, [0.5]) == {0.5: 0.5}


def test_of_equal_scores_the_later_prediction_comes_first():
    events = {"v": [(0, 2, "a")]}
    assert temporal_map(events, {"v": [(0, 2, "a", 0.5), (8, 9, "a", 0.5)]}, [0.5]) == {0.5: 0.5}
    assert temporal_map(events, {"v": [(8, 9, "a", 0.5), (0, 2, "a", 0.5)]}, [0.5]) == {0.5: 1.0}


def test_a_class_without_predictions_counts_as_zero():
    assert temporal_map({"v": [(0, 2, "a"), (0, 2, "b")]}, {"v": [(0, 2, "a", 1.0)]}, [0.5]) == {0.5: 0.5}
    assert temporal_map({"v": [(0, 2, "a")]}, {}, [0.5]) == {0.5: 0.0}


def test_dedupe_takes_repeated_events_for_one_and_passes_over_empty_ones_and_unknown_labels():
    events = {"v": [(0, 2, "a"), (0.0005, 2.0004, "a"), (3, 3, "a"), (0, 2.01, "a")]}
    predictions = {"v": [(0, 2, "a", 0.9), (0, 2.01, "a", 0.8), (0, 2, "never seen", 1.0)]}
    assert temporal_map(events, predictions, [0.5], dedupe=True) == {0.5: 1.0}
    known = {"v": predictions["v"][:2]}
    assert temporal_map(events, known, [0.5]) == {0.5: 0.5}


@pytest.mark.parametrize(
    ("events", "predictions", "thresholds", "message"),
    [
        ({"v": []}, {}, [0.5], "holds no event"),
        ({"v": [(0, 1, "a")]}, {}, [], "tiou_thresholds"),
        ({"v": [(0, 1, "a")]}, {}, [50], "above 0 and at most 1"),
        ({"v": [(2, 1, "a")]}, {}, [0.5], "ground_truth of 'v': .* ends before it starts"),
        ({"v": [(0, 1, "a")]}, {"w": [(0, 1, "b", 1.0)]}, [0.5], "predictions of 'w' have the label 'b'"),
        ({"v": [(0, 1, "a")]}, {"w": [(0, 1, "a", math.nan)]}, [0.5], "predictions of 'w': expected finite numbers"),
        ({"v": [("a", 0, 1)]}, {}, [0.5], "ground_truth of 'v': expected finite numbers"),
        ({"v": [(0, 1)]}, {}, [0.5], "expected 3 values a segment"),
    ],
)
def test_input_that_makes_no_sense_is_an_error(events, predictions, thresholds, message):
    with pytest.raises(ValueError, match=message):
        temporal_map(events, predictions, thresholds)


def test_tiou_of_segments_without_length_is_zero():
    found = temporal_iou((1, 1), np.array([[1.0, 1.0], [0.0, 2.0]]))
    assert found.tolist() == [0.0, 0.0]
    assert temporal_iou((0, 2), np.array([[1.0, 3.0], [0.0, 2.0], [5.0, 6.0]])).tolist() == [1 / 3, 1.0, 0.0]


# ---- proposals ----


def test_proposals_are_the_runs_of_frames_above_each_threshold():
    scores, times = [0.1, 0.6, 0.9, 0.7, 0.2, 0.8], [0.5, 1.5, 2.5, 3.5, 4.5, 5.5]
    found = proposals_from_scores(scores, times, [0.5, 0.8])
    expected = [(1, 4, (0.6 + 0.9 + 0.7) / 3), (2, 3, 0.9), (5, 6, 0.8)]
    np.testing.assert_allclose(found, expected)


def test_frames_reach_half_way_to_their_neighbours_at_any_rate():
    found = proposals_from_scores([1, 0, 1], [0, 1, 5], [0.5], duration=6)
    assert found == [(0, 0.5, 1), (3, 6, 1)]
    assert proposals_from_scores([1, 1], [0, 1], [0.5, 0.9]) == [(0, 1.5, 1)]
    assert proposals_from_scores([0, 0], [0, 1], [0.5]) == []
    assert proposals_from_scores([1], [0], [0.5], duration=2) == [(0, 2, 1)]


@pytest.mark.parametrize(
    ("scores", "times", "duration", "message"),
    [
        ([1, 1], [0], None, "as many times as scores"),
        ([], [], None, "at least one"),
        ([1, math.nan], [0, 1], None, "must be finite"),
        ([1, 1], [1, 1], None, "times must increase"),
        ([1], [0], None, "not known without a duration"),
        ([1, 1], [0, 5], 4, "The duration is 4"),
    ],
)
def test_scores_and_times_that_do_not_fit_are_errors(scores, times, duration, message):
    with pytest.raises(ValueError, match=message):
        proposals_from_scores(scores, times, [0.5], duration)


# ---- suppression ----


def test_soft_nms_lowers_what_overlaps_with_a_better_one():
    proposals = [(0.0, 2.0, 0.8), (0.0, 4.0, 0.9), (8.0, 9.0, 0.5), (0.0, 4.0, 0.7)]
    found = soft_nms(proposals, sigma=0.5)
    first = [score * math.exp(-(iou**2) / 0.5) for score, iou in ((0.8, 0.5), (0.7, 1.0))]
    last = first[1] * math.exp(-(0.5**2) / 0.5)  # also by (0, 2), which comes before it
    rest = sorted([(8, 9, 0.5), (0, 2, first[0]), (0, 4, last)], key=lambda proposal: -proposal[2])
    np.testing.assert_allclose(found, [(0, 4, 0.9), *rest])


def test_soft_nms_keeps_as_many_as_asked_above_the_least_score():
    proposals = [(float(start), start + 1.0, 0.1 * (start + 1)) for start in range(5)]
    assert [score for *_, score in soft_nms(proposals, max_proposals=2)] == [0.5, 0.4]
    assert len(soft_nms(proposals, min_score=0.25)) == 3
    assert soft_nms([]) == []


@pytest.mark.parametrize("proposals", [[(0, 1, math.nan)], [(2, 1, 0.5)], [(0, 1)]])
def test_proposals_that_make_no_sense_are_errors(proposals):
    with pytest.raises(ValueError, match="proposals of 'the video'"):
        soft_nms(proposals)
    with pytest.raises(ValueError, match="sigma must be above 0"):
        soft_nms([(0, 1, 0.5)], sigma=0)
