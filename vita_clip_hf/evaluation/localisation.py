"""Temporal localisation: proposals without classes are named by the model, and detections compared with the truth."""

import logging
import math
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import fmean

import torch
from datasets import ClassLabel, Dataset, Features, Value

from ..data.formats.files import VideoFiles
from ..data.segments import Proposal, Segment, load_proposals, load_segments
from ..modeling.video_reading_vita_clip import VideoReader, VideoReadError
from ..names import load_labels, readable_class_names
from .metrics import proposals_from_scores, soft_nms, temporal_map
from .protocols import Protocol, TestSplit

logger = logging.getLogger(__name__)

Detection = tuple[float, float, str, float]


@dataclass(frozen=True)
class LocalisationSet:
    """
    Args:
        name: of the split.
        labels: class names as the ground truth writes them.
        class_names: the same as words.
        truth: by video `(start, end, label)`, of videos that are there.
        proposals: by video `(start, end, score)`; without a file of proposals the windows that the model scores.
        durations: of videos in seconds, where windows are scored; `None` where there are proposals.
        rows: a row for each proposal: `video` (path), `start`, `end`, and a `label` without meaning.
        missing: videos that are not there, or whose length cannot be read where windows need it.
            Their ground truth is left out.
        without_proposals: videos that are there and have no proposal; their ground truth counts.
        sources: files.
        differences: from the protocol's counts.
    """

    name: str
    labels: list[str]
    class_names: list[str]
    truth: dict[str, list[Segment]]
    proposals: dict[str, list[Proposal]]
    durations: dict[str, float] | None
    rows: Dataset
    missing: tuple[str, ...]
    without_proposals: tuple[str, ...]
    sources: tuple[Path, ...]
    differences: tuple[str, ...]


def load_localisation_set(
    split: TestSplit,
    truth: Path,
    proposals: Path | float,
    videos: str | os.PathLike,
    classes: str | os.PathLike | None = None,
) -> LocalisationSet:
    """
    Reads ground truth and proposals of a split.

    Args:
        split: says the subset and the file of classes.
        truth: the file, see `load_segments`.
        proposals: the file, see `load_proposals`; or the seconds of the windows that the model is to score.
        videos: the folder of the videos, which are called as in the ground truth, or `v_` before it.
        classes: a file of class names, or a folder that has the split's; by default all of the ground truth.

    Raises:
        OSError: a file, or every video, is not there.
        ValueError: a file is of another form, or a class is not in the ground truth.
    """
    class_file = None if classes is None else _class_file(Path(classes), split)
    chosen = None if class_file is None else load_labels(class_file)
    segments = load_segments(truth, split.official, chosen)
    labels = chosen or sorted({label for of_video in segments.values() for _, _, label in of_video})
    _check_labels(labels, segments, truth)
    files = VideoFiles(videos)
    paths = {video: found[0] for video in segments if (found := files.locate_stem(video, f"v_{video}"))}
    missing = tuple(video for video in segments if video not in paths)
    if not paths:
        raise FileNotFoundError(f"{videos}: has none of the {len(missing)} videos of {truth}, such as {missing[0]}.")
    durations = None
    if isinstance(proposals, float):
        durations = {video: length for video, path in paths.items() if (length := _duration(path)) is not None}
        paths = {video: paths[video] for video in durations}
        missing = tuple(video for video in segments if video not in paths)
        usable = {video: _windows(duration, proposals) for video, duration in durations.items()}
    else:
        given = load_proposals(proposals)
        usable = {video: [one for one in given.get(_key(video, given), []) if one[1] > one[0]] for video in paths}
    pairs = [(paths[video], start, end) for video, of_video in usable.items() for start, end, _ in of_video]
    if not pairs:
        raise ValueError(f"{proposals}: has no proposal for the {len(paths)} videos of {truth} that are there.")
    columns = dict(zip(("video", "start", "end"), map(list, zip(*pairs, strict=True)), strict=True))
    features = {"video": Value("string"), "start": Value("float64"), "end": Value("float64")}
    rows = Dataset.from_dict(
        {**columns, "label": [0] * len(pairs)}, features=Features({**features, "label": ClassLabel(names=labels)})
    )
    wrong = split.num_classes is not None and split.num_classes != len(labels)
    difference = f"{split.name} has {len(labels)} classes, the protocol's {split.num_classes}"
    return LocalisationSet(
        name=split.name,
        labels=labels,
        class_names=readable_class_names(labels),
        truth={video: of_video for video, of_video in segments.items() if video in paths},
        proposals=usable,
        durations=durations,
        rows=rows,
        missing=missing,
        without_proposals=tuple(video for video, of_video in usable.items() if not of_video),
        sources=tuple(path for path in (truth, proposals, class_file) if isinstance(path, Path)),
        differences=(difference,) if wrong else (),
    )


def detect(
    test_set: LocalisationSet, scores: Mapping[int, torch.Tensor], protocol: Protocol
) -> dict[str, list[Detection]]:
    """
    Detections by video. A proposal is given its best classes; a detection's score is the proposal's times the
    probability of the class. Without proposals the detections of a class are the runs of windows in which its
    probability reaches a threshold, with its mean as score.

    Args:
        test_set: has the proposals, or windows.
        scores: for each row of `test_set.rows` that could be read the class scores `(C,)`.
        protocol: has the number of classes of a proposal, the thresholds, and the width of soft-NMS.
    """
    found: dict[str, list[Detection]] = {}
    first = 0
    for video, proposals in test_set.proposals.items():
        readable = [number for number in range(len(proposals)) if first + number in scores]
        if readable:
            probabilities = torch.stack([scores[first + number] for number in readable]).softmax(-1)
            kept = [proposals[number] for number in readable]
            if test_set.durations is None:
                detections = _name_proposals(kept, probabilities, test_set.labels, protocol)
            else:
                detections = _join_windows(kept, probabilities, test_set.labels, protocol, test_set.durations[video])
            found[video] = _suppress(detections, protocol.soft_nms_sigma)
        first += len(proposals)
    return found


def _name_proposals(
    proposals: Sequence[Proposal], probabilities: torch.Tensor, labels: Sequence[str], protocol: Protocol
) -> list[Detection]:
    best = probabilities.topk(min(protocol.classes_per_proposal or 1, len(labels)), dim=-1)
    return [
        (start, end, labels[label], score * probability)
        for (start, end, score), shares, ids in zip(
            proposals, best.values.tolist(), best.indices.tolist(), strict=True
        )
        for probability, label in zip(shares, ids, strict=True)
    ]


def _join_windows(
    windows: Sequence[Proposal],
    probabilities: torch.Tensor,
    labels: Sequence[str],
    protocol: Protocol,
    duration: float,
) -> list[Detection]:
    centres = [(start + end) / 2 for start, end, _ in windows]
    return [
        (start, end, label, score)
        for number, label in enumerate(labels)
        for start, end, score in proposals_from_scores(
            probabilities[:, number].tolist(), centres, protocol.score_thresholds, duration
        )
    ]


def localisation_figures(
    truth: Mapping[str, Sequence[Segment]], detections: Mapping[str, Sequence[Detection]], thresholds: Sequence[float]
) -> dict[str, float]:
    """
    Mean average precision over all thresholds, `mean_average_precision`, and at each of them, `map_at_0.5`. As in
    ActivityNet's evaluator the classes are those of the ground truth.
    """
    labels = {label for of_video in truth.values() for _, _, label in of_video}
    known = {video: [one for one in of_video if one[2] in labels] for video, of_video in detections.items()}
    by_threshold = temporal_map(truth, known, thresholds)
    at_each = {f"map_at_{threshold:g}": by_threshold[threshold] for threshold in thresholds}
    return {"mean_average_precision": fmean(at_each.values()), **at_each}


def _duration(path: str) -> float | None:
    """Of a video in seconds; `None` if it cannot be read, or does not say."""
    try:
        return VideoReader(path).duration
    except VideoReadError as error:
        logger.warning(str(error))
        return None


def _windows(duration: float, seconds: float) -> list[Proposal]:
    """Windows one after the other, the last of which ends with the video."""
    number = max(1, math.ceil(duration / seconds - 1e-6))
    return [(k * seconds, min((k + 1) * seconds, duration), 1.0) for k in range(number)]


def _suppress(detections: list[Detection], sigma: float | None) -> list[Detection]:
    if sigma is None:
        return detections
    kept: list[Detection] = []
    for label in sorted({label for _, _, label, _ in detections}):
        of_class = [(start, end, score) for start, end, name, score in detections if name == label]
        kept += [(start, end, label, score) for start, end, score in soft_nms(of_class, sigma=sigma)]
    return kept


def _class_file(classes: Path, split: TestSplit) -> Path:
    if not classes.is_dir():
        return classes
    if split.classes is None:
        raise ValueError(f"{classes} is a folder, and the split {split.name!r} names no file of classes in it.")
    return classes / split.classes


def _check_labels(labels: Sequence[str], segments: Mapping[str, Sequence[Segment]], truth: Path) -> None:
    lacking = sorted(set(labels) - {label for of_video in segments.values() for _, _, label in of_video})
    if lacking:
        raise ValueError(f"{truth}: has no segment of the class {lacking[0]!r} ({len(lacking)} of {len(labels)}).")


def _key(video: str, proposals: Mapping[str, object]) -> str:
    return video if video in proposals else f"v_{video}"


__all__ = ["Detection", "LocalisationSet", "detect", "load_localisation_set", "localisation_figures"]
