"""A protocol: the facts that make a number comparable with others, read from a small YAML file."""

from __future__ import annotations

import math
import os
from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields
from importlib.resources import files
from pathlib import Path
from types import UnionType
from typing import Any, get_args, get_origin, get_type_hints

import yaml

from ...modeling.labels_vita_clip import check_templates
from ...modeling.video_processing_vita_clip import FrameSampling

KINDS = ("classification", "few_shot", "base_to_novel", "episodes", "retrieval", "localisation")
CLASSIFICATION_METRICS = ("top_1", "top_5", "mean_class_accuracy")
RETRIEVAL_METRICS = ("recall_at_1", "recall_at_5", "recall_at_10", "median_rank", "mean_rank")
LOCALISATION_METRICS = ("mean_average_precision",)
CLASS_TEXTS = ("own", "contexts", "templates")
_CHOICES = {
    "kind": KINDS,
    "view_average": ("probabilities", "logits"),
    "class_texts": CLASS_TEXTS,
    "template_average": ("embeddings", "probabilities", "logits"),
    "class_subset": ("all", "half"),
}
_METRICS = {"retrieval": RETRIEVAL_METRICS, "localisation": LOCALISATION_METRICS}
# The file that a variant starts from. It is resolved when the file is read, so that a protocol shows every fact.
_BASE = "base"


@dataclass(frozen=True)
class TestSplit:
    """
    A list of test videos.

    Args:
        name: of the part in the report, such as "test1".
        lists: names that its list may have below `--list`; the first that is a file is read.
        official: names of the split in the annotations of the data set's authors.
        classes: the file of its class names below `--classes`, if `--classes` is a folder.
        num_classes, num_videos: of the whole list, if known: other counts are named in the report.
    """

    __test__ = False  # pytest collects classes called Test...

    name: str
    lists: tuple[str, ...]
    official: tuple[str, ...]
    classes: str | None
    num_classes: int | None
    num_videos: int | None


@dataclass(frozen=True)
class Protocol:
    """
    Args:
        name: of the file, without its ending.
        summary: what is measured, in two lines.
        source: who uses it so.
        kind: one of `KINDS`.
        dataset: its name; `None` for any.
        splits: each a number of its own; over several the mean and the deviation are reported.
        num_frames, sampling, frame_stride, temporal_views, spatial_views: as in `FrameSampling` and `VideoViews`.
        view_average: whether the views' "probabilities" or "logits" are averaged.
        class_texts: "own" are the classes that the model has learned, if it has all of the list; else, and with
            "templates" always, names in `templates`. "contexts" are, for classes that the model has not learned, the
            contexts that it shares between classes around their names, if it has such (`text_prompt_scope="unified"`).
        templates: each with one `{}` for the name.
        names_alone: model types whose classes are names without a template, as these models were trained.
        template_average: whether the templates' "embeddings" (of length 1), "probabilities" or "logits" are averaged.
        class_subset: "half" draws half of the classes, rounded down, `num_draws` times.
        num_draws: draws of classes; `None` if nothing is drawn.
        num_ways: classes of a draw of five-way few-shot; `None` otherwise.
        shots: training videos of each class, one run for each number; empty without training.
        seeds: of the draws of training videos, one run for each.
        tiou_thresholds: overlaps in time from which a detection counts; empty unless for localisation.
        classes_per_proposal: the best classes that each proposal is given; `None` unless for localisation.
        window_seconds: without proposals from a file, the length of the windows that the model scores.
        score_thresholds: runs of windows that reach one of these probabilities of a class are then detections.
        soft_nms_sigma: width of the Gaussian by which detections of a class that overlap lose score; `None` for none.
        metrics: what is reported.
        traps: what makes numbers under this name differ.

    Raises:
        ValueError: a fact is not known, missing, of another type or outside its range.
    """

    name: str
    summary: str
    source: str
    kind: str
    dataset: str | None
    splits: tuple[TestSplit, ...]
    num_frames: int
    sampling: str
    frame_stride: int | None
    temporal_views: int
    spatial_views: int
    view_average: str
    class_texts: str
    templates: tuple[str, ...]
    names_alone: tuple[str, ...]
    template_average: str
    class_subset: str
    num_draws: int | None
    num_ways: int | None
    shots: tuple[int, ...]
    seeds: tuple[int, ...]
    tiou_thresholds: tuple[float, ...]
    classes_per_proposal: int | None
    window_seconds: float | None
    score_thresholds: tuple[float, ...]
    soft_nms_sigma: float | None
    metrics: tuple[str, ...]
    traps: tuple[str, ...]

    def __post_init__(self) -> None:
        for name, choices in _CHOICES.items():
            if getattr(self, name) not in choices:
                raise ValueError(f"{name} must be one of {', '.join(choices)}; found {getattr(self, name)!r}.")
        for name in ("num_frames", "temporal_views", "spatial_views"):
            _check_at_least(name, getattr(self, name), 1)
        if (self.sampling == "strided") != (self.frame_stride is not None):
            raise ValueError(f"frame_stride is for strided sampling; found {self.frame_stride} and {self.sampling!r}.")
        FrameSampling(self.num_frames, self.sampling, self.frame_stride or 1, self.temporal_views)
        check_templates(self.templates)
        if not self.splits:
            raise ValueError("splits is empty; expected at least one.")
        known = _METRICS.get(self.kind, CLASSIFICATION_METRICS)
        if not self.metrics or set(self.metrics) - set(known):
            raise ValueError(f"metrics of {self.kind} must be among {', '.join(known)}; found {self.metrics}.")
        self._check_draws()

    def _check_draws(self) -> None:
        draws = self.kind == "episodes" or self.class_subset == "half"
        if draws != (self.num_draws is not None):
            raise ValueError(f"num_draws is for what draws classes; found {self.num_draws} for {self.kind}.")
        if (self.kind == "episodes") != (self.num_ways is not None):
            raise ValueError(f"num_ways is for episodes; found {self.num_ways} for {self.kind}.")
        if (self.kind in ("few_shot", "base_to_novel", "episodes")) != bool(self.shots):
            raise ValueError(f"shots is for what trains on a few videos; found {self.shots} for {self.kind}.")
        if bool(self.shots) != bool(self.seeds):
            raise ValueError(f"seeds belong to shots; found {self.seeds} and {self.shots}.")
        if (self.kind == "localisation") != bool(self.tiou_thresholds):
            raise ValueError(f"tiou_thresholds is for localisation; found {self.tiou_thresholds} for {self.kind}.")
        for name in ("classes_per_proposal", "window_seconds", "score_thresholds"):
            if (self.kind == "localisation") != bool(getattr(self, name)):
                raise ValueError(f"{name} is for localisation; found {getattr(self, name)} for {self.kind}.")
        if not all(0 < threshold <= 1 for threshold in self.tiou_thresholds):
            raise ValueError(f"tiou_thresholds must be above 0 and at most 1; found {self.tiou_thresholds}.")
        for name in ("window_seconds", "soft_nms_sigma"):
            value = getattr(self, name)
            if value is not None and not 0 < value < math.inf:
                raise ValueError(f"{name} must be above 0; found {value}.")
        if self.kind == "base_to_novel" and [split.name for split in self.splits] != ["base", "novel"]:
            raise ValueError(f"splits of {self.kind} must be base and novel.")
        for number in (*self.shots, self.num_draws, self.num_ways, self.classes_per_proposal):
            if number is not None:
                _check_at_least("shots, num_draws, num_ways and classes_per_proposal", number, 1)

    @property
    def num_views(self) -> int:
        """Clips of each video."""
        return self.temporal_views * self.spatial_views

    def to_dict(self) -> dict[str, Any]:
        """All facts, as YAML and JSON hold them."""
        return _plain(asdict(self))

    def describe(self) -> str:
        """All facts as text: the summary, a line for each fact that is set, and the traps."""
        return describe_facts(self.to_dict())

    def with_changes(self, changes: Mapping[str, Any]) -> Protocol:
        """
        The same with other facts; its name says so.

        Raises:
            ValueError: there is no such fact, or it has no such value.
        """
        if not changes:
            return self
        if "name" in changes:
            raise ValueError("The name of a protocol cannot be changed.")
        return _from_dict({**self.to_dict(), **changes, "name": f"{self.name} (changed)"}, "changes")


def describe_facts(facts: Mapping[str, Any]) -> str:
    """A protocol's facts, as `to_dict` gives them, as text."""
    apart = ("name", "summary", "traps", "splits")
    set_facts = {name: value for name, value in facts.items() if name not in apart and value not in (None, [])}
    set_facts["splits"] = [split["name"] for split in facts["splits"]]
    lines = [f"{name}: {_inline(value)}" for name, value in set_facts.items()]
    summary = [f"  {line}" for line in facts["summary"].strip().splitlines()]
    traps = [f"  trap: {trap}" for trap in facts["traps"]]
    return "\n".join([f"protocol: {facts['name']}", *summary, *(f"  {line}" for line in lines), *traps])


def protocol_names() -> list[str]:
    """The protocols that ship with the package."""
    return sorted(entry.name.removesuffix(".yaml") for entry in _shipped().iterdir() if entry.name.endswith(".yaml"))


def load_protocol(source: str | os.PathLike) -> Protocol:
    """
    A protocol by its name, or from a YAML file of one's own, which may start from another by `base: NAME`.

    Raises:
        OSError: there is no such protocol or file.
        ValueError: the file is not YAML, or a fact is unknown, missing or makes no sense; the message names both.
    """
    facts = _read(str(source))
    return _from_dict(facts, str(source))


def _shipped() -> Any:
    return files(__package__)


def _read(source: str, seen: tuple[str, ...] = ()) -> dict[str, Any]:
    if source in seen:
        raise ValueError(f"{source}: starts from itself, by {' and '.join(seen)}.")
    is_file = source.endswith((".yaml", ".yml"))
    if is_file and not Path(source).is_file():
        raise FileNotFoundError(f"{source}: no such file.")
    if not is_file and source not in protocol_names():
        raise FileNotFoundError(f"There is no protocol {source!r}; there are {', '.join(protocol_names())}.")
    place: Any = Path(source) if is_file else _shipped().joinpath(f"{source}.yaml")
    try:
        facts = yaml.safe_load(place.read_text(encoding="utf-8"))
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        raise ValueError(f"{source}: is not YAML: {error}") from error
    if not isinstance(facts, dict):
        raise ValueError(f"{source}: expected lines of `name: value`, found {type(facts).__name__}.")
    facts = {"name": Path(source).stem if is_file else source, **facts}
    base = facts.pop(_BASE, None)
    return facts if base is None else {**_read(str(base), (*seen, source)), **facts}


def _from_dict(facts: Mapping[str, Any], where: str) -> Protocol:
    try:
        return _build(Protocol, facts, "")
    except ValueError as error:
        raise ValueError(f"{where}: {error}") from error


def _build(kind: type, facts: Any, place: str) -> Any:
    """A frozen dataclass of facts: each known, there, and of its type."""
    if not isinstance(facts, Mapping):
        raise ValueError(f"{place or 'the protocol'}: expected lines of `name: value`, found {facts!r:.60}.")
    known = [field.name for field in fields(kind)]
    unknown, missing = sorted(set(facts) - set(known)), [name for name in known if name not in facts]
    if unknown or missing:
        found = [f"unknown {', '.join(map(str, unknown))}"] * bool(unknown)
        found += [f"missing {', '.join(missing)}"] * bool(missing)
        raise ValueError(f"{place or 'the facts'}: {'; '.join(found)}. Expected exactly {', '.join(known)}.")
    types = get_type_hints(kind)
    return kind(**{name: _value(types[name], facts[name], f"{place}{name}") for name in known})


def _value(kind: Any, value: Any, place: str) -> Any:
    if isinstance(kind, UnionType):
        return None if value is None else _value(get_args(kind)[0], value, place)
    if get_origin(kind) is tuple:
        if not isinstance(value, list | tuple):
            raise ValueError(f"{place}: expected a list, found {value!r:.60}.")
        return tuple(_value(get_args(kind)[0], entry, f"{place}[{number}].") for number, entry in enumerate(value))
    if kind is TestSplit:
        return _build(kind, value, place)
    if kind is float and isinstance(value, int) and not isinstance(value, bool):
        return float(value)
    if not isinstance(value, kind) or isinstance(value, bool):
        raise ValueError(f"{place.rstrip('.')}: expected {kind.__name__}, found {value!r:.60}.")
    return value


def _check_at_least(name: str, value: int, least: int) -> None:
    if value < least:
        raise ValueError(f"{name} must be at least {least}, found {value}.")


def _inline(value: Any) -> str:
    return ", ".join(map(repr, value)) if isinstance(value, list) else str(value)


def _plain(value: Any) -> Any:
    """Tuples as lists."""
    if isinstance(value, dict):
        return {name: _plain(entry) for name, entry in value.items()}
    return [_plain(entry) for entry in value] if isinstance(value, list | tuple) else value


__all__ = ["Protocol", "TestSplit", "describe_facts", "load_protocol", "protocol_names"]
