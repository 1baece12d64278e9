"""Features for people: of every video below a folder, as npz or parquet."""

import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow
from datasets import Dataset
from pyarrow import parquet

from ..data.formats.files import files_below, is_video_name
from ..modeling.adapter_file_vita_clip import written_whole
from ..models import fixed_num_frames, load_model
from .encoding import ClipSampling, encode_videos, open_store
from .features import identity_of
from .run import Resources

FEATURE_FILES = (".npz", ".parquet")


@dataclass(frozen=True)
class VideoFeatureTable:
    """
    Args:
        names: paths of the videos that could be read.
        frame_embeds: of each frame, `(N, V, T, D')`, float32, not normalised.
        video_embeds: of each clip, `(N, V, D')`, float32, not normalised.
        times: seconds at which each frame is shown, `(N, V, T)`, float64; NaN if the file does not say.
        unreadable: the reason for each video that could not be read, by its path.
    """

    names: list[str]
    frame_embeds: np.ndarray
    video_embeds: np.ndarray
    times: np.ndarray
    unreadable: dict[str, str]


def find_videos(folder: str | os.PathLike) -> list[str]:
    """
    All video files below a folder, sorted, or the one file that is named.

    Raises:
        OSError: there is none.
    """
    place = Path(folder)
    if place.is_file():
        return [str(place)]
    if not place.is_dir():
        raise FileNotFoundError(f"{place}: no such folder or file.")
    found = [os.path.join(place, path) for path in files_below(place) if is_video_name(os.path.basename(path))]
    if not found:
        raise FileNotFoundError(f"{place}: has no video below it.")
    return sorted(found)


def extract_features(
    model: str | os.PathLike,
    videos: Sequence[str],
    resources: Resources | None = None,
    *,
    num_frames: int | None = None,
    sampling: str | None = None,
    frame_stride: int | None = None,
    views: tuple[int, int] = (1, 1),
) -> VideoFeatureTable:
    """
    Embeds videos through the feature cache.

    Args:
        model: what `load_model` takes.
        videos: paths.
        resources: how the model is run.
        num_frames, sampling, frame_stride: of clips; by default as the model's processor has them.
        views: temporal and spatial.

    Raises:
        OSError: no video can be read.
        ValueError: a setting makes no sense.
    """
    import torch

    resources = resources or Resources()
    loaded, processor = load_model(
        model, dtype=getattr(torch, resources.dtype), device=resources.place, revision=resources.revision
    )
    own = processor.video_processor
    fixed = fixed_num_frames(loaded)
    if fixed is not None and num_frames not in (None, fixed):
        raise ValueError(f"{model} takes clips of {fixed} frames; found num_frames={num_frames}.")
    kind = own.sampling if sampling is None else sampling
    stride = own.frame_stride if frame_stride is None else frame_stride
    frames = own.num_frames if num_frames is None else num_frames
    if frame_stride is not None and kind != "strided":
        raise ValueError(f"frame_stride is for strided sampling; found {frame_stride} and {kind!r}.")
    clips = ClipSampling(frames, kind, stride if kind == "strided" else None, *views)
    rows = Dataset.from_dict({"video": list(videos)})
    store = open_store(loaded, processor, clips, resources.cache)
    failures = encode_videos(
        loaded,
        processor,
        rows,
        clips,
        store,
        batch_size=resources.batch_size,
        num_workers=resources.num_workers,
        accelerator=resources.accelerator,
    )
    names = [video for number, video in enumerate(videos) if number not in failures]
    unreadable = {videos[number]: reason for number, reason in sorted(failures.items())}
    if not names:
        video, reason = next(iter(unreadable.items()))
        raise OSError(f"None of {len(videos)} videos could be read, the first {video}: {reason}")
    arrays: dict[str, list] = {"frame_embeds": [None] * len(names), "video_embeds": [None] * len(names)}
    times: list = [None] * len(names)
    for stored in store.read([identity_of({"video": name}) for name in names]):
        for row, position in enumerate(stored.positions):
            for name, values in arrays.items():
                values[position] = getattr(stored.features, name)[row].numpy()
            times[position] = stored.times[row].numpy()
    stacked = {name: np.stack(values) for name, values in arrays.items()}
    return VideoFeatureTable(names, **stacked, times=np.stack(times), unreadable=unreadable)


def write_features(table: VideoFeatureTable, path: str | os.PathLike) -> None:
    """
    Writes an `.npz` (arrays `names`, `frame_embeds`, `video_embeds`, `times`) or a `.parquet` (a row for each video).

    Raises:
        ValueError: the name has another ending.
    """
    path = Path(path)
    if path.suffix not in FEATURE_FILES:
        raise ValueError(f"{path}: expected a name that ends with {' or '.join(FEATURE_FILES)}.")
    with written_whole(path) as file:
        if path.suffix == ".npz":
            with file.open("wb") as output:
                np.savez(
                    output,
                    names=np.array(table.names),
                    frame_embeds=table.frame_embeds,
                    video_embeds=table.video_embeds,
                    times=table.times,
                )
        else:
            parquet.write_table(_as_table(table), file)


def _as_table(table: VideoFeatureTable) -> Any:
    """Of Arrow's own nested lists, which every reader of parquet knows; `datasets`' types for arrays are its own."""

    def nested(values: np.ndarray) -> Any:
        array = pyarrow.array(values.reshape(-1))
        for size in reversed(values.shape[1:]):
            array = pyarrow.FixedSizeListArray.from_arrays(array, size)
        return array

    arrays = {name: getattr(table, name) for name in ("frame_embeds", "video_embeds", "times")}
    return pyarrow.table({"video": table.names, **{name: nested(values) for name, values in arrays.items()}})


__all__ = ["FEATURE_FILES", "VideoFeatureTable", "extract_features", "find_videos", "write_features"]
