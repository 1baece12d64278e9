"""
The feature cache: videos are encoded once for a model, its preprocessing, a sampling and the views.

A folder for each of these holds shards, safetensors files of up to some dozens of videos. A shard appears whole or not
at all, under a name of its own, and has a checksum, so that several processes may write at the same time, a run that
was stopped goes on, and a damaged shard is found and made again.
"""

import hashlib
import json
import logging
import os
import uuid
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file

from ..data.rows import name_of
from ..modeling.adapter_file_vita_clip import written_whole
from ..models import VideoFeatures

logger = logging.getLogger(__name__)

ABOUT_FILE = "about.json"
_TIMES = "times"
_FORMAT = 2


@dataclass(frozen=True)
class StoredFeatures:
    """
    Args:
        positions: which of the videos that were asked for these are.
        features: of each view: `frame_embeds` `(N, V, T, D')`, `video_embeds` `(N, V, D')`, and what the model adds.
        times: seconds at which each frame is shown, `(N, V, T)`, float64; NaN if the file does not say.
    """

    positions: list[int]
    features: VideoFeatures
    times: torch.Tensor


class FeatureStore:
    """
    Args:
        folder: of the whole cache.
        about: what the features depend on, beside the video; as JSON holds it.

    Raises:
        OSError: the folder cannot be written to.
    """

    def __init__(self, folder: str | os.PathLike, about: Mapping[str, Any]):
        described = json.dumps({"format": _FORMAT, **about}, sort_keys=True, indent=1)
        self.folder = Path(folder) / hashlib.sha256(described.encode()).hexdigest()[:24]
        self._shards: set[Path] = set()
        self._places: dict[str, tuple[Path, int]] = {}
        if not (self.folder / ABOUT_FILE).is_file():
            with written_whole(self.folder / ABOUT_FILE) as file:
                file.write_text(described, encoding="utf-8")
        self.refresh()

    def __contains__(self, video: str) -> bool:
        return video in self._places

    def refresh(self) -> None:
        """Takes in the shards that other processes have written since. A damaged shard is named and removed."""
        for path in sorted(set(self.folder.glob("*.safetensors")) - self._shards):
            try:
                videos = _check_shard(path)
            except FileNotFoundError:  # another process has found it damaged
                continue
            except OSError as error:
                logger.warning(f"{error}. It is removed, and its videos are encoded again.")
                path.unlink(missing_ok=True)
                continue
            self._shards.add(path)
            for row, video in enumerate(videos):
                self._places.setdefault(video, (path, row))

    def add(self, videos: Sequence[str], features: VideoFeatures, times: torch.Tensor) -> None:
        """
        Writes a shard.

        Args:
            videos: their identities, from [`identity_of`].
            features: `(N, V, ...)`.
            times: `(N, V, T)`.

        Raises:
            OSError: it cannot be written, as if the disk is full; nothing of it is left.
        """
        stored = {**features.tensors(), _TIMES: times}
        tensors = {name: tensor.detach().cpu().contiguous() for name, tensor in stored.items()}
        metadata = {"format": "pt", "videos": json.dumps(list(videos)), "features": type(features).__name__}
        path = self.folder / f"{uuid.uuid4().hex}.safetensors"
        metadata["checksum"] = _checksum(tensors, metadata["videos"], self.folder.name)
        with written_whole(path) as file:
            save_file(tensors, file, metadata)
        self._shards.add(path)
        for row, video in enumerate(videos):
            self._places.setdefault(video, (path, row))

    def read(self, videos: Sequence[str]) -> Iterator[StoredFeatures]:
        """
        The features of videos that are in the cache, shard by shard.

        Raises:
            KeyError: a video is not in the cache.
            OSError: a shard was taken away or damaged since it was checked.
        """
        wanted: dict[Path, list[tuple[int, int]]] = {}
        for position, video in enumerate(videos):
            path, row = self._places[video]
            wanted.setdefault(path, []).append((position, row))
        for path, pairs in wanted.items():
            tensors, metadata = _read_shard(path)
            rows = torch.tensor([row for _, row in pairs])
            chosen = {name: tensor[rows] for name, tensor in tensors.items()}
            times = chosen.pop(_TIMES)
            kind = _features_class(metadata["features"])
            yield StoredFeatures([position for position, _ in pairs], kind(**chosen), times)


def identity_of(row: Mapping[str, Any]) -> str:
    """
    A video, or a part of one, as the cache knows it: place, size and time of change of the file, and the part. A file
    that has changed is another video.

    Raises:
        OSError: there is no such file.
    """
    video, part = row["video"], (row.get("start"), row.get("end"))
    content = video["bytes"] if isinstance(video, Mapping) else video
    if isinstance(content, bytes):
        return json.dumps([hashlib.sha256(content).hexdigest(), len(content), None, *part])
    path = os.path.realpath(name_of(row))
    status = os.stat(path)
    return json.dumps([path, status.st_size, status.st_mtime_ns, *part])


def _features_class(name: str) -> type[VideoFeatures]:
    kinds: list[type[VideoFeatures]] = [VideoFeatures, *VideoFeatures.__subclasses__()]
    known = {kind.__name__: kind for kind in kinds}
    return known[name]


def _check_shard(path: Path) -> list[str]:
    """The identities of a shard's videos. Raises `OSError` if it is damaged."""
    tensors, metadata = _read_shard(path)
    if metadata.get("checksum") != _checksum(tensors, metadata.get("videos", ""), path.parent.name):
        raise OSError(f"{path}: is damaged (its checksum does not agree)")
    return json.loads(metadata["videos"])


def _read_shard(path: Path) -> tuple[dict[str, torch.Tensor], dict[str, str]]:
    try:
        with safe_open(path, framework="pt") as file:
            return {name: file.get_tensor(name) for name in file.keys()}, file.metadata() or {}  # noqa: SIM118
    except SafetensorError as error:
        raise OSError(f"{path}: is damaged ({error})") from error


def _checksum(tensors: Mapping[str, torch.Tensor], videos: str, folder: str) -> str:
    """Over the name of the store's folder too: a shard that was copied from another model's is none of this one."""
    digest = hashlib.sha256(f"{folder}{videos}".encode())
    for name, tensor in sorted(tensors.items()):
        digest.update(f"{name}{tuple(tensor.shape)}{tensor.dtype}".encode())
        digest.update(tensor.contiguous().view(-1).view(torch.uint8).numpy().data)
    return digest.hexdigest()


__all__ = ["FeatureStore", "StoredFeatures", "identity_of"]
