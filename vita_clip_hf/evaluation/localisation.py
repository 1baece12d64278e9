"""Temporal localisation: proposals without classes are named by the model, and detections compared with the truth."""

import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import fmean

import torch
from datasets import ClassLabel, Dataset, Features, Value

from ..data.formats.files import VideoFiles
from ..data.segments import Proposal, Segment, load_proposals, load_segments
from ..names import load_labels, readable_class_names
from .metrics import soft_nms, temporal_map
from .protocols import Protocol, TestSplit

Detection = tuple[float, float, str, float]


@dataclass(frozen=True)
class LocalisationSet:
    """
    Args:
        name: of the split.
        labels: class names as the ground truth writes them.
        class_names: the same as words.
        truth: by video `(start, end, label)`, of videos that are there.
        proposals: by video `(start, end, score)`.
        rows: a row for each proposal: `video` (path), `start`, `end`, and a `label` without meaning.
        missing: videos that are not there; their ground truth is left out.
        without_proposals: videos that are there and have no proposal; their ground truth counts.
        sources: files.
        differences: from the protocol's counts.
    """

    name: str
    labels: list[str]
    class_names: list[str]
    truth: dict[str, list[Segment]]
    proposals: dict[str, list[Proposal]]
    rows: Dataset
    missing: tuple[str, ...]
    without_proposals: tuple[str, ...]
    sources: tuple[Path, ...]
    differences: tuple[str, ...]


def load_localisation_set(
    split: TestSplit,
    truth: Path,
    proposals: Path,
    videos: str | os.PathLike,
    classes: str | os.PathLike | None = None,
) -> LocalisationSet:
    """
    Reads ground truth and proposals of a split.

    Args:
        split: says the subset and the file of classes.
        truth, proposals: files, see `load_segments` and `load_proposals`.
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
    all_proposals = load_proposals(proposals)
    usable = {
        video: [one for one in all_proposals.get(_key(video, all_proposals), []) if one[1] > one[0]] for video in paths
    }
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
        rows=rows,
        missing=missing,
        without_proposals=tuple(video for video, of_video in usable.items() if not of_video),
        sources=(truth, proposals) if class_file is None else (truth, proposals, class_file),
        differences=(difference,) if wrong else (),
    )


def detect(
    test_set: LocalisationSet, scores: Mapping[int, torch.Tensor], protocol: Protocol
) -> dict[str, list[Detection]]:
    """
    Detections by video. A proposal is given its best classes; a detection's score is the proposal's times the
    probability of the class.

    Args:
        test_set: has the proposals.
        scores: for each row of `test_set.rows` that could be read the class scores `(C,)`.
        protocol: says how many classes a proposal is given, and about soft-NMS.
    """
    found: dict[str, list[Detection]] = {}
    row = 0
    for video, proposals in test_set.proposals.items():
        detections: list[Detection] = []
        for start, end, score in proposals:
            if row in scores:
                probabilities = scores[row].softmax(-1)
                best = probabilities.topk(min(protocol.classes_per_proposal or 1, len(test_set.labels)))
                detections += [
                    (start, end, test_set.labels[label], score * probability)
                    for probability, label in zip(best.values.tolist(), best.indices.tolist(), strict=True)
                ]
            row += 1
        found[video] = _suppress(detections, protocol.soft_nms_sigma)
    return found


def localisation_figures(
    truth: Mapping[str, Sequence[Segment]], detections: Mapping[str, Sequence[Detection]], thresholds: Sequence[float]
) -> dict[str, float]:
    """Mean average precision over all thresholds, `mean_average_precision`, and at each of them, `map_at_0.5`."""
    by_threshold = temporal_map(truth, detections, thresholds)
    at_each = {f"map_at_{threshold:g}": by_threshold[threshold] for threshold in thresholds}
    return {"mean_average_precision": fmean(at_each.values()), **at_each}


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
