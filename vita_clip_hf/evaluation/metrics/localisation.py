"""
Temporal localisation: mean average precision as ActivityNet's evaluator computes it, proposals from scores of frames,
and soft non-maximum suppression. Segments are in seconds.
"""

import math
from collections.abc import Hashable, Iterable, Mapping, Sequence
from numbers import Real
from typing import Any

import numpy as np

ACTIVITYNET_THRESHOLDS = tuple(np.linspace(0.5, 0.95, 10).tolist())
THUMOS_THRESHOLDS = (0.3, 0.4, 0.5, 0.6, 0.7)
SAME_EVENT = 1e-3  # seconds between the ends of events that `dedupe` takes for one

Event = tuple[float, float, Hashable]  # start, end, label
Detection = tuple[float, float, Hashable, float]  # and a score
Proposal = tuple[float, float, float]  # start, end, score


# ---- mean average precision ----


def temporal_map(
    ground_truth: Mapping[str, Sequence[Event]],
    predictions: Mapping[str, Sequence[Detection]],
    tiou_thresholds: Sequence[float],
    dedupe: bool = False,
) -> dict[float, float]:
    """
    The mean over the classes of the ground truth of their average precision, as ActivityNet's evaluator computes it:
    a prediction is right if its temporal intersection over union (tIoU) with an event of its class that no better
    prediction has taken is at least the threshold; each threshold is counted by itself; precision is interpolated at
    all points. Of equal scores the later prediction comes first, in every run.

    Args:
        ground_truth: the events `(start, end, label)` of each video.
        predictions: `(start, end, label, score)` for each video. Those of a video without ground truth are wrong.
        tiou_thresholds: such as `ACTIVITYNET_THRESHOLDS` or `THUMOS_THRESHOLDS`.
        dedupe: as OpenTAD's port of the evaluator: of events of a label whose ends differ by at most a millisecond the
            first counts, events of no length do not, and predictions of labels without an event are passed over.

    Returns:
        The mean average precision, from 0 to 1, of each threshold.

    Raises:
        ValueError: there is no event or threshold, a segment ends before it starts, a number is NaN or infinite, or a
            predicted label has no event in the ground truth (without `dedupe`).
    """
    precisions = average_precisions(ground_truth, predictions, tiou_thresholds, dedupe)
    return {
        threshold: float(np.mean([of_label[threshold] for of_label in precisions.values()]))
        for threshold in tiou_thresholds
    }


def average_precisions(
    ground_truth: Mapping[str, Sequence[Event]],
    predictions: Mapping[str, Sequence[Detection]],
    tiou_thresholds: Sequence[float],
    dedupe: bool = False,
) -> dict[Hashable, dict[float, float]]:
    """The average precision by label and threshold; see [`temporal_map`]."""
    if not len(tiou_thresholds) or not all(0 < threshold <= 1 for threshold in tiou_thresholds):
        raise ValueError(f"tiou_thresholds must be above 0 and at most 1, found {list(tiou_thresholds)}.")
    events = _events_by_label(ground_truth, dedupe)
    if not events:
        raise ValueError("The ground truth holds no event.")
    detections: dict[Hashable, list[tuple[str, float, float, float]]] = {label: [] for label in events}
    for video, start, end, label, score in _rows(predictions, "predictions", 4):
        if label in detections:
            detections[label].append((video, start, end, score))
        elif not dedupe:
            raise ValueError(
                f"predictions of {video!r} have the label {label!r}, which no event of the ground truth has; leave "
                "them out, or give dedupe=True."
            )
    thresholds = np.asarray(tiou_thresholds, dtype=np.float64)
    precisions = {label: _average_precision(events[label], detections[label], thresholds) for label in events}
    return {label: dict(zip(tiou_thresholds, found, strict=True)) for label, found in precisions.items()}


def temporal_iou(segment: Sequence[float], others: np.ndarray) -> np.ndarray:
    """
    Intersection over union of a segment `(start, end)` and N others `(N, 2)`: `(N,)`. That of two segments of no
    length is 0.
    """
    inner = np.minimum(segment[1], others[:, 1]) - np.maximum(segment[0], others[:, 0])
    intersection = inner.clip(min=0)
    union = (others[:, 1] - others[:, 0]) + (segment[1] - segment[0]) - intersection
    return np.divide(intersection, union, out=np.zeros_like(union), where=union > 0)


def _events_by_label(
    ground_truth: Mapping[str, Sequence[Event]], dedupe: bool
) -> dict[Hashable, dict[str, list[tuple[float, float]]]]:
    """The segments of each label in each video."""
    events: dict[Hashable, dict[str, list[tuple[float, float]]]] = {}
    for video, start, end, label in _rows(ground_truth, "ground_truth", 3):
        if dedupe and start == end:
            continue
        same = events.setdefault(label, {}).setdefault(video, [])
        if not (dedupe and any(abs(start - s) <= SAME_EVENT and abs(end - e) <= SAME_EVENT for s, e in same)):
            same.append((start, end))
    return events


def _rows(
    segments: Mapping[str, Sequence[Sequence[Any]]], name: str, size: int, label_at: int | None = 2
) -> Iterable[tuple[Any, ...]]:
    """(video, start, end, ...) of every segment, of `size` values of which all but the label are finite numbers."""
    for video, of_video in segments.items():
        for segment in of_video:
            if len(segment) != size:
                raise ValueError(f"{name} of {video!r}: expected {size} values a segment, found {segment!r}.")
            numbers = [value for place, value in enumerate(segment) if place != label_at]
            if not all(isinstance(number, Real) and math.isfinite(number) for number in numbers):
                raise ValueError(f"{name} of {video!r}: expected finite numbers of seconds and scores in {segment!r}.")
            if segment[0] > segment[1]:
                raise ValueError(f"{name} of {video!r}: {segment!r} ends before it starts.")
            yield (video, *segment)


def _average_precision(
    events: Mapping[str, Sequence[tuple[float, float]]],
    detections: Sequence[tuple[str, float, float, float]],
    thresholds: np.ndarray,
) -> list[float]:
    """The average precision of one label at each threshold."""
    segments = {video: np.asarray(of_video, dtype=np.float64) for video, of_video in events.items()}
    taken = {video: np.zeros((len(thresholds), len(of_video)), dtype=bool) for video, of_video in segments.items()}
    scores = np.asarray([score for *_, score in detections], dtype=np.float64)
    ranking = scores.argsort(kind="stable")[::-1]
    is_right = np.zeros((len(thresholds), len(detections)), dtype=bool)
    for place, number in enumerate(ranking):
        video, start, end, _ = detections[number]
        if video not in segments:
            continue
        overlaps = temporal_iou((start, end), segments[video])
        if overlaps.max() < thresholds.min():
            continue
        nearest_first = overlaps.argsort(kind="stable")[::-1]
        for row, threshold in enumerate(thresholds):
            free = [event for event in nearest_first if overlaps[event] >= threshold and not taken[video][row, event]]
            if free:
                taken[video][row, free[0]] = is_right[row, place] = True
    num_events = sum(map(len, segments.values()))
    return [_area_below(row, num_events) for row in is_right]


def _area_below(is_right: np.ndarray, num_events: int) -> float:
    """The area below the curve of precision over recall, where precision is the best at that recall or a higher."""
    found = is_right.cumsum()
    precision = found / np.arange(1, len(is_right) + 1)
    best = np.maximum.accumulate(precision[::-1])[::-1]
    return float(best[is_right].sum() / num_events)


# ---- proposals ----


def proposals_from_scores(
    scores: Sequence[float], times: Sequence[float], thresholds: Sequence[float], duration: float | None = None
) -> list[Proposal]:
    """
    Proposals from scores of frames: for each threshold the longest runs of neighbouring frames that reach it.

    Args:
        scores: of each frame, `(T,)`: how much it shows the action.
        times: when each frame is shown, in seconds, increasing, `(T,)`. A frame reaches half-way to its neighbours.
        thresholds: several give shorter proposals within longer ones.
        duration: of the video, where the last frame ends; by default it lasts as long as the one before.

    Returns:
        `(start, end, score)`, each run once, in the order of time; the score is the mean of the run's frames.

    Raises:
        ValueError: scores and times are not of one length of at least 1, not finite, or the times do not increase; or
            a single frame has no duration.
    """
    values, places = np.asarray(scores, dtype=np.float64), np.asarray(times, dtype=np.float64)
    if values.ndim != 1 or values.shape != places.shape or not len(values):
        raise ValueError(f"Expected as many times as scores, at least one; found {places.shape} and {values.shape}.")
    if not np.isfinite(values).all() or not np.isfinite(places).all() or (np.diff(places) <= 0).any():
        raise ValueError("Scores and times must be finite, and the times must increase.")
    borders = _borders(places, duration)
    runs = {run for threshold in thresholds for run in _runs(values >= threshold)}
    return [(float(borders[a]), float(borders[b]), float(values[a:b].mean())) for a, b in sorted(runs)]


def soft_nms(
    proposals: Sequence[Proposal], sigma: float = 0.5, min_score: float = 0.001, max_proposals: int | None = None
) -> list[Proposal]:
    """
    Soft non-maximum suppression: the best proposal is taken, the scores of the others are multiplied by
    exp(-tIoU^2 / sigma) with it, and so on.

    Args:
        proposals: `(start, end, score)` of one video, and of one class unless classes are to suppress each other.
        sigma: the larger, the less is suppressed; above 0.
        min_score: proposals that fall below it are left out.
        max_proposals: that are kept, by default all.

    Returns:
        `(start, end, score)` with the lowered scores, from the best.

    Raises:
        ValueError: `sigma` is not above 0, or a segment or score makes no sense.
    """
    if not sigma > 0:
        raise ValueError(f"sigma must be above 0, found {sigma}.")
    rows = [row[1:] for row in _rows({"the video": proposals}, "proposals", 3, None)]
    left = np.asarray(rows, dtype=np.float64).reshape(len(rows), 3)
    kept: list[Proposal] = []
    left = left[left[:, 2] >= min_score]
    while len(left) and (max_proposals is None or len(kept) < max_proposals):
        best = int(left[:, 2].argmax())
        start, end, score = left[best].tolist()
        kept.append((start, end, score))
        left = np.delete(left, best, axis=0)
        left[:, 2] *= np.exp(-(temporal_iou((start, end), left[:, :2]) ** 2) / sigma)
        left = left[left[:, 2] >= min_score]
    return kept


def _borders(times: np.ndarray, duration: float | None) -> np.ndarray:
    """Where the frames begin, and where the last of them ends, `(T + 1,)`."""
    middles = (times[1:] + times[:-1]) / 2
    if duration is None and len(times) == 1:
        raise ValueError("The extent of a single frame is not known without a duration.")
    last = duration if duration is not None else times[-1] + (times[-1] - middles[-1])
    if not math.isfinite(last) or last < times[-1]:
        raise ValueError(f"The duration is {last}, and the last frame is shown at {times[-1]}.")
    first = max(0.0, times[0] - (middles[0] - times[0])) if len(times) > 1 else 0.0
    return np.concatenate([[min(first, times[0])], middles, [last]])


def _runs(is_high: np.ndarray) -> list[tuple[int, int]]:
    """The begin and end (one behind the last) of each run of true values."""
    steps = np.diff(np.concatenate([[0], is_high.astype(np.int8), [0]]))
    return list(zip((steps == 1).nonzero()[0].tolist(), (steps == -1).nonzero()[0].tolist(), strict=True))


__all__ = [
    "ACTIVITYNET_THRESHOLDS",
    "THUMOS_THRESHOLDS",
    "average_precisions",
    "proposals_from_scores",
    "soft_nms",
    "temporal_iou",
    "temporal_map",
]
