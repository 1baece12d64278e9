"""One evaluation from model, protocol and data to a report; the work of `vita-clip evaluate`."""

import logging
import os
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace
from itertools import product
from typing import Any

import torch
from accelerate import Accelerator
from huggingface_hub.constants import HF_HOME

from ..data.rows import name_of
from ..modeling.processing_vita_clip import VitaClipProcessor
from ..models import VideoTextModel, available_device, fixed_num_frames, load_model
from ..models.fingerprint import model_fingerprint
from .encoding import ClipSampling, encode_videos, open_store
from .features import FeatureStore
from .protocols import Protocol

DEFAULT_CACHE = os.path.join(HF_HOME, "vita-clip-features")
# Placeholders of a model's name, for protocols with a model for each run.
PLACEHOLDERS = ("shots", "seed", "draw")

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class Resources:
    """
    How models are run.

    Args:
        cache: folder of the feature cache, on a disk that all processes see; by default in the Hub's home.
        batch_size: clips at once, in each process.
        num_workers: processes that read videos, beside each process.
        device: of the models; by default the accelerator's, else the first accelerator of this machine, else the CPU.
        dtype: "float32", "bfloat16" or "float16".
        revision: of models on the Hub.
        accelerator: shares the videos out to the processes that `accelerate launch` started.
    """

    cache: str | os.PathLike = field(default_factory=lambda: DEFAULT_CACHE)
    batch_size: int = 16
    num_workers: int = 0
    device: str | None = None
    dtype: str = "float32"
    revision: str | None = None
    accelerator: Accelerator | None = None

    def __post_init__(self) -> None:
        if self.batch_size < 1 or self.num_workers < 0:
            raise ValueError(
                f"batch_size must be at least 1 and num_workers at least 0; found {self.batch_size} and "
                f"{self.num_workers}."
            )
        if self.dtype not in ("float32", "bfloat16", "float16"):
            raise ValueError(f"dtype must be float32, bfloat16 or float16; found {self.dtype!r}.")

    @property
    def place(self) -> torch.device:
        """The device of the models. Raises `ValueError` if this machine does not have it."""
        if self.device is None and self.accelerator is not None:
            return self.accelerator.device
        return available_device(self.device)


@dataclass(frozen=True)
class Contender:
    """
    A loaded model under a protocol.

    Args:
        name: as it was given.
        model, processor: as `load_model` gives them.
        sampling: of its clips: the protocol's, with the frames that the model must have.
        store: its part of the feature cache.
        facts: kind, fingerprint, revision, precision and sampling, for the report.
        notes: how it departs from the protocol.
    """

    name: str
    model: VideoTextModel
    processor: VitaClipProcessor
    sampling: ClipSampling
    store: FeatureStore
    facts: dict[str, Any]
    notes: list[str]


@dataclass(frozen=True)
class Run:
    """
    One model of a protocol that trains several.

    Args:
        model: its name, placeholders filled in.
        label: of its parts in the report, such as "k16 seed1"; empty if one model serves all.
        shots, seed, draw: which run it is; `None` where a model serves all.
    """

    model: str
    label: str = ""
    shots: int | None = None
    seed: int | None = None
    draw: int | None = None


def plan_runs(model: str, protocol: Protocol) -> list[Run]:
    """
    The models of a protocol: one for each of its shots, seeds and draws that the name has a placeholder for.

    Raises:
        ValueError: a placeholder is not the protocol's, or one is missing that would make models the same.
    """
    values: dict[str, Sequence[int]] = {
        "shots": protocol.shots,
        "seed": protocol.seeds,
        "draw": range(protocol.num_draws or 0) if protocol.kind == "episodes" else (),
    }
    used = [name for name in PLACEHOLDERS if f"{{{name}}}" in model]
    for name in used:
        if not values[name]:
            raise ValueError(f"{model}: the protocol {protocol.name} has nothing to put in for {{{name}}}.")
    if not used:
        return [Run(model)]
    chosen = [values[name] if name in used else (None,) for name in PLACEHOLDERS]
    runs = [Run(model, shots=shots, seed=seed, draw=draw) for shots, seed, draw in product(*chosen)]
    return [replace(run, model=_filled(run), label=_label(run)) for run in runs]


def _filled(run: Run) -> str:
    """The name with the run's numbers in place of the placeholders."""
    name = run.model
    for placeholder, value in zip(PLACEHOLDERS, (run.shots, run.seed, run.draw), strict=True):
        name = name.replace(f"{{{placeholder}}}", str(value))
    return name


def _label(run: Run) -> str:
    marks = (("k", run.shots), ("seed", run.seed), ("draw", run.draw))
    return " ".join(f"{mark}{value}" for mark, value in marks if value is not None)


def load_contender(name: str, protocol: Protocol, resources: Resources) -> Contender:
    """
    Loads a model and opens its cache. Each departure from the protocol or from the model's own clips is a warning,
    before any video is read.

    Raises:
        OSError: there is no such checkpoint.
        ValueError: it is of a kind that cannot be evaluated.
    """
    dtype = getattr(torch, resources.dtype)
    model, processor = load_model(name, dtype=dtype, device=resources.place, revision=resources.revision)
    sampling, notes = sampling_of(model, processor, protocol, name)
    if resources.accelerator is None or resources.accelerator.is_main_process:
        for note in notes:
            logger.warning(note)
    fingerprint = model_fingerprint(model)
    facts = {
        "kind": type(model.model).__name__,
        "fingerprint": fingerprint,
        "revision": getattr(model.model.config, "_commit_hash", None) or resources.revision,
        "base": getattr(model.model.config, "base_model_name_or_path", None),
        "dtype": resources.dtype,
        "num_frames": sampling.num_frames,
        "sampling": sampling.sampling,
        "frame_stride": sampling.frame_stride,
        "trainable_parameters": model.num_trained,
    }
    store = open_store(model, processor, sampling, resources.cache, fingerprint)
    return Contender(name, model, processor, sampling, store, facts, notes)


def sampling_of(
    model: VideoTextModel, processor: VitaClipProcessor, protocol: Protocol, name: str
) -> tuple[ClipSampling, list[str]]:
    """The clips of a model under a protocol, and how they depart from the protocol or from the model's own."""
    sampling = ClipSampling(
        protocol.num_frames,
        protocol.sampling,
        protocol.frame_stride,
        protocol.temporal_views,
        protocol.spatial_views,
    )
    fixed = fixed_num_frames(model)
    if fixed is not None and fixed != sampling.num_frames:
        note = f"{name} takes clips of {fixed} frames; the protocol's {sampling.num_frames} were not used."
        return replace(sampling, num_frames=fixed), [note]
    if getattr(model.model.config, "label_token_ids", None) is None:  # it was trained on no videos
        return sampling, []
    own = processor.video_processor
    stride = own.frame_stride if own.sampling == "strided" else None
    theirs = {"num_frames": own.num_frames, "sampling": own.sampling, "frame_stride": stride}
    changes = [f"--set {fact}={_written(value)}" for fact, value in theirs.items() if value != getattr(sampling, fact)]
    if not changes:
        return sampling, []
    return sampling, [
        f"{name} was saved for {_clips(**theirs)}; the protocol {protocol.name} takes "
        f"{_clips(sampling.num_frames, sampling.sampling, sampling.frame_stride)}, and so do these figures. For the "
        f"clips that it was saved for: {' '.join(changes)}"
    ]


def _clips(num_frames: int, sampling: str, frame_stride: int | None) -> str:
    return f"{num_frames} frames, {sampling}" + ("" if frame_stride is None else f" at stride {frame_stride}")


def _written(value: Any) -> str:
    """As `--set` takes it."""
    return "null" if value is None else str(value)


def encode(contender: Contender, rows: Any, resources: Resources, description: str) -> dict[int, str]:
    """Fills the cache for these rows; returns why some could not be read, by their number."""
    return encode_videos(
        contender.model,
        contender.processor,
        rows,
        contender.sampling,
        contender.store,
        batch_size=resources.batch_size,
        num_workers=resources.num_workers,
        accelerator=resources.accelerator,
        description=description,
    )


def contenders(runs: Sequence[Run], protocol: Protocol, resources: Resources) -> Iterator[tuple[Run, Contender]]:
    """Each run with its model, loaded when it is its turn."""
    for run in runs:
        yield run, load_contender(run.model, protocol, resources)


def readable_rows(rows: Any, failures: dict[int, str], name: str) -> list[int]:
    """The numbers of the rows that could be read. Raises `OSError` if there is none."""
    readable = [row for row in range(len(rows)) if row not in failures]
    if not readable:
        reasons = [f"; the first, {video}: {reason}" for video, reason in describe_unreadable(rows, failures).items()]
        raise OSError(f"None of the {len(rows)} videos of {name} could be read{''.join(reasons[:1])}.")
    return readable


def describe_unreadable(rows: Any, failures: dict[int, str]) -> dict[str, str]:
    """The reasons by the videos' names."""
    return {name_of(rows[number]): reason for number, reason in sorted(failures.items())}


__all__ = [
    "DEFAULT_CACHE",
    "PLACEHOLDERS",
    "Contender",
    "Resources",
    "Run",
    "contenders",
    "describe_unreadable",
    "encode",
    "load_contender",
    "plan_runs",
    "readable_rows",
    "sampling_of",
]
