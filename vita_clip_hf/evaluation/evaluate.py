"""`evaluate`: a model under a protocol, on the videos that are there, to a report."""

import os
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from datasets import ClassLabel, Dataset, Features, Value

from ..data.captions import load_captions
from ..data.rows import name_of
from .caption_scores import caption_rows, num_cut, score_captions
from .classification import encode_class_texts, score_classes
from .classify import classify
from .features import identity_of
from .learned_draws import DrawLearner
from .localisation import LocalisationSet, detect, load_localisation_set, localisation_figures
from .metrics import bootstrap_interval, retrieval_both_ways, retrieval_ranks
from .protocols import Protocol, load_protocol
from .report import Part, Report
from .run import (
    Contender,
    Resources,
    contenders,
    describe_unreadable,
    encode,
    load_contender,
    plan_runs,
    readable_rows,
)
from .summary import summarise
from .test_sets import TestSet, checksum, choose_splits, load_test_sets

_NAMED_IN_NOTES = 5  # missing videos; the report has all of them


@dataclass(frozen=True)
class TestData:
    """
    Where the test videos are.

    Args:
        videos: the folder that paths start from.
        list_path: a list, a folder of lists, or the data set's own annotations; captions; ground truth.
        classes: a file of class names, or a folder of those that the protocol names.
        splits: only these of the protocol's.
        dataset: its name, where the protocol is for any.
        proposals: for localisation.
    """

    __test__ = False  # pytest collects classes called Test...

    videos: str | os.PathLike
    list_path: str | os.PathLike | None = None
    classes: str | os.PathLike | None = None
    splits: Sequence[str] | None = None
    dataset: str | None = None
    proposals: str | os.PathLike | None = None


@dataclass
class _Findings:
    """What the runs of an evaluation leave: parts and predictions, and facts about models and data."""

    parts: list[Part] = field(default_factory=list)
    predictions: list[dict[str, Any]] = field(default_factory=list)
    models: dict[str, dict[str, Any]] = field(default_factory=dict)
    notes: list[str] = field(default_factory=list)
    sources: list[Path] = field(default_factory=list)
    counts: dict[str, dict[str, int]] = field(default_factory=dict)
    missing: list[str] = field(default_factory=list)
    unreadable: dict[str, str] = field(default_factory=dict)
    differences: list[str] = field(default_factory=list)

    def add_contender(self, contender: Contender) -> None:
        self.models[contender.name] = contender.facts
        self.notes += [note for note in contender.notes if note not in self.notes]


def evaluate(
    model: str | os.PathLike,
    protocol: str | os.PathLike | Protocol,
    data: TestData,
    resources: Resources | None = None,
    command: Sequence[str] | None = None,
    learner: DrawLearner | None = None,
) -> Report:
    """
    Evaluates a model.

    Args:
        model: what `load_model` takes; for protocols that train several models a pattern with `{shots}`, `{seed}` or
            `{draw}`, such as `runs/k{shots}`.
        protocol: its name, its file, or the protocol.
        data: the test videos.
        resources: how the model is run.
        command: the command line, for the report.
        learner: for few-shot episodes: learns each draw from features of the model, such as
            [`vita_clip_hf.training.EfficientPromptLearner`].

    Returns:
        The report, the same in all processes.

    Raises:
        OSError: a model, a list, or every video is not there.
        ValueError: settings, lists and protocol do not fit together.
    """
    protocol = protocol if isinstance(protocol, Protocol) else load_protocol(protocol)
    resources = resources or Resources()
    _check_data(protocol, data)
    if learner is not None and protocol.kind != "episodes":
        raise ValueError(
            f"Only few-shot episodes have draws to learn; {protocol.name} is of the kind {protocol.kind}."
        )
    if protocol.kind == "retrieval":
        found = _retrieve(str(model), protocol, data, resources)
    elif protocol.kind == "localisation":
        found = _localise(str(model), protocol, data, resources)
    else:
        found = _classify(str(model), protocol, data, resources, learner)
    return _report(str(model), protocol, data, found, command)


def _classify(
    model: str, protocol: Protocol, data: TestData, resources: Resources, learner: DrawLearner | None
) -> _Findings:
    test_sets = load_test_sets(protocol, data.videos, data.list_path, data.classes, data.splits)
    found = _Findings()
    runs = plan_runs(model, protocol)
    failures: dict[str, dict[int, str]] = {test_set.name: {} for test_set in test_sets}
    for run, contender in contenders(runs, protocol, resources):
        outcome = classify(run, contender, test_sets, protocol, resources, learner)
        found.add_contender(contender)
        found.parts += outcome.parts
        found.predictions += outcome.predictions
        for name, of_run in outcome.failures.items():
            failures[name] |= of_run
    for test_set in test_sets:
        _count(found, test_set, failures[test_set.name])
    if learner is not None:
        found.models[model] = {**found.models[model], "learned": learner.facts}
        found.notes.append(f"Each draw was learned by itself: {learner.facts['method']}, on frozen features.")
    elif protocol.shots and not runs[0].label:
        found.notes.append(f"One model served all {'draws' if protocol.kind == 'episodes' else 'shots and seeds'}.")
    kinds = {part.class_texts for part in found.parts}
    if protocol.class_texts != "templates" and kinds & {"templates", "names"}:
        where = "Parts" if "own" in kinds else "All parts"
        found.notes.append(f"{where} with classes that the model has not learned are scored by names as text.")
    if "names" in kinds:
        found.notes.append("Class names stand without a template, as the model was trained.")
    for test_set in test_sets:
        repeated = found.counts[test_set.name]["repeated"]
        if repeated:
            found.notes.append(f"{test_set.name}: {repeated} rows repeat a video of the list; each row counts.")
    return found


def _count(found: _Findings, test_set: TestSet, failures: dict[int, str]) -> None:
    unreadable = describe_unreadable(test_set.rows, failures)
    found.counts[test_set.name] = {
        "listed": len(test_set.rows) + len(test_set.missing),
        "missing": len(test_set.missing),
        "unreadable": len(failures),
        "of_other_classes": test_set.num_other_classes,
        "repeated": _num_repeated(test_set.rows),
        "evaluated": len(test_set.rows) - len(failures),
        "classes": len(test_set.class_names),
    }
    found.sources += [path for path in test_set.sources if path not in found.sources]
    found.missing += [path for path in test_set.missing if path not in found.missing]
    found.unreadable |= unreadable
    found.differences += [text for text in test_set.differences if text not in found.differences]


def _num_repeated(rows: Dataset) -> int:
    """Rows about a video, or a part of one, that another row is about."""
    videos = {(name_of(row), row.get("start"), row.get("end")) for row in rows.to_list()}
    return len(rows) - len(videos)


def _retrieve(model: str, protocol: Protocol, data: TestData, resources: Resources) -> _Findings:
    split = choose_splits(protocol, data.splits)[0]
    path = _one_file(data.list_path, split.lists, "captions", "--list")
    captions = load_captions(path, data.videos)
    there = [number for number, video in enumerate(captions.videos) if os.path.exists(video)]
    if not there:
        raise FileNotFoundError(f"{path}: none of its videos is there; the first is expected at {captions.videos[0]}.")
    rows = Dataset.from_dict(
        {"video": [captions.videos[number] for number in there], "label": [0] * len(there)},
        features=Features({"video": Value("string"), "label": ClassLabel(names=["video"])}),
    )
    found = _Findings(sources=[path], missing=[video for video in captions.videos if not os.path.exists(video)])
    contender = load_contender(model, protocol, resources)
    found.add_contender(contender)
    failures = encode(contender, rows, resources, "encoding")
    readable = readable_rows(rows, failures, split.name)
    place_of = {there[row]: place for place, row in enumerate(readable)}
    kept = [number for number, video in enumerate(captions.video_of_caption) if video in place_of]
    texts = [captions.captions[number] for number in kept]
    owners = [place_of[captions.video_of_caption[number]] for number in kept]
    videos = [identity_of(rows[row]) for row in readable]
    similarity = score_captions(contender.model, contender.store, videos, texts, protocol)
    cut = num_cut(contender.model, texts)
    if cut:
        most = contender.model.max_text_tokens
        found.notes.append(f"{cut} of {len(texts)} captions are longer than {most} tokens and were cut.")
    ranks = retrieval_ranks(similarity, owners)
    figures = {
        name: value for name, value in retrieval_both_ways(similarity, owners).items() if _is_asked(name, protocol)
    }
    is_of_first = next(iter(figures)) == "text_to_video_recall_at_1"
    interval = bootstrap_interval((ranks == 1).tolist()) if is_of_first else None
    found.parts.append(Part("test", figures, interval, len(readable), None, model, split.name))
    found.predictions += caption_rows(texts, [rows[row]["video"] for row in readable], owners, ranks)
    found.unreadable = describe_unreadable(rows, failures)
    listed = len(captions.videos)
    found.counts[split.name] = {
        "listed": listed,
        "missing": len(found.missing),
        "unreadable": len(failures),
        "evaluated": len(readable),
        "captions": len(texts),
    }
    if split.num_videos not in (None, listed):
        found.differences.append(f"{split.name} has {listed} videos, the protocol's {split.num_videos}")
    return found


def _is_asked(name: str, protocol: Protocol) -> bool:
    return name.removeprefix("text_to_video_").removeprefix("video_to_text_") in protocol.metrics


def _localise(model: str, protocol: Protocol, data: TestData, resources: Resources) -> _Findings:
    proposals = Path(data.proposals) if data.proposals is not None else float(protocol.window_seconds or 1)
    splits = choose_splits(protocol, data.splits)
    if len(splits) > 1 and (data.classes is None or not Path(data.classes).is_dir()):
        raise ValueError(
            f"The splits of {protocol.name} differ in their classes: give the folder of {splits[0].classes} and the "
            "others by --classes."
        )
    truth = _one_file(data.list_path, splits[0].lists, "ground truth", "--list")
    test_sets = [load_localisation_set(split, truth, proposals, data.videos, data.classes) for split in splits]
    found = _Findings()
    contender = load_contender(model, protocol, resources)
    found.add_contender(contender)
    if data.proposals is None:
        found.notes.append("No file of proposals was given: detections are runs of windows that the model scored.")
    for test_set in test_sets:
        failures = encode(contender, test_set.rows, resources, f"{test_set.name}: encoding")
        readable = readable_rows(test_set.rows, failures, test_set.name)
        texts = encode_class_texts(contender.model, test_set.class_names, protocol)
        videos = [identity_of(test_set.rows[row]) for row in readable]
        scores = score_classes(contender.model, contender.store, videos, texts, protocol)
        detections = detect(test_set, dict(zip(readable, scores, strict=True)), protocol)
        figures = localisation_figures(test_set.truth, detections, protocol.tiou_thresholds)
        part = Part(test_set.name, figures, None, len(test_set.truth), len(test_set.labels), model, test_set.name)
        found.parts.append(part)
        _count_localisation(found, test_set, detections, failures)
    return found


def _count_localisation(
    found: _Findings, test_set: LocalisationSet, detections: dict[str, list[Any]], failures: dict[int, str]
) -> None:
    found.predictions += [
        {"part": test_set.name, "video": video, "start": start, "end": end, "label": label, "score": score}
        for video, of_video in detections.items()
        for start, end, label, score in of_video
    ]
    found.unreadable |= describe_unreadable(test_set.rows, failures)
    found.missing += [video for video in test_set.missing if video not in found.missing]
    found.sources += [path for path in test_set.sources if path not in found.sources]
    found.differences += list(test_set.differences)
    found.counts[test_set.name] = {
        "listed": len(test_set.truth) + len(test_set.missing),
        "missing": len(test_set.missing),
        "without_proposals": len(test_set.without_proposals),
        "proposals": len(test_set.rows),
        "unreadable": len(failures),
        "evaluated": len(test_set.truth),
        "classes": len(test_set.labels),
    }


def _report(model: str, protocol: Protocol, data: TestData, found: _Findings, command: Sequence[str] | None) -> Report:
    run_splits = list(dict.fromkeys(part.split for part in found.parts))
    lacking = [split.name for split in protocol.splits if split.name not in run_splits]
    notes = list(found.notes)
    if lacking:
        notes.append(f"Only {', '.join(run_splits)}; the protocol has {', '.join(lacking)} too.")
    if found.missing:
        notes.append(f"{len(found.missing)} videos are missing: {_some(found.missing)}.")
    if found.unreadable:
        reasons = [f"{video} ({reason})" for video, reason in found.unreadable.items()]
        notes.append(f"{len(reasons)} videos could not be read: {_some(reasons)}.")
    notes += [f"{text}." for text in found.differences]
    facts = {
        "model": model,
        "dataset": protocol.dataset or data.dataset or Path(data.videos).resolve().name,
        "videos": str(data.videos),
        "lists": [{"path": str(path), "checksum": checksum(path)} for path in found.sources],
        "counts": found.counts,
        "missing": found.missing,
        "unreadable": found.unreadable,
        "partial": bool(found.missing or found.unreadable or found.differences or lacking),
    }
    return Report(
        models=found.models,
        protocol=protocol.to_dict(),
        data=facts,
        parts=found.parts,
        figures=summarise(found.parts, protocol),
        notes=notes,
        command=None if command is None else list(command),
        predictions=found.predictions,
    )


def _check_data(protocol: Protocol, data: TestData) -> None:
    if data.dataset is not None and protocol.dataset not in (None, data.dataset.lower()):
        raise ValueError(f"The protocol {protocol.name} is for {protocol.dataset}; found --dataset {data.dataset}.")
    if data.proposals is not None and protocol.kind != "localisation":
        raise ValueError(f"--proposals is for localisation; {protocol.name} is of the kind {protocol.kind}.")
    if data.classes is not None and protocol.kind == "retrieval":
        raise ValueError(f"--classes names classes; {protocol.name} compares captions.")


def _one_file(path: str | os.PathLike | None, names: Sequence[str], what: str, option: str) -> Path:
    """The file, or the one of these names in the folder."""
    if path is None:
        raise ValueError(f"Give the file of the {what} by {option}.")
    folder = Path(path)
    if not folder.is_dir():
        return folder
    found = next((folder / name for name in names if (folder / name).is_file()), None)
    if found is None:
        raise FileNotFoundError(f"{folder}: has no {what}; expected {' or '.join(names) or 'a file'}.")
    return found


def _some(names: Sequence[str]) -> str:
    more = len(names) - _NAMED_IN_NOTES
    return ", ".join(names[:_NAMED_IN_NOTES]) + (f" and {more} more" if more > 0 else "")


__all__ = ["TestData", "evaluate"]
