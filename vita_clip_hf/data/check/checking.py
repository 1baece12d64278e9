"""Decodes a data set whole and finds its problems."""

import os
from collections.abc import Callable, Iterable
from pathlib import Path

from tqdm.auto import tqdm

from ...names import words_of
from ..formats.listing import ListedVideo, VideoListing
from .isolated import Died, map_isolated
from .probe import File, Probe, probe_video
from .report import PROBLEMS, DataReport, Finding

_SECONDS_PER_FILE = 300.0


def check_data(
    listing: VideoListing,
    *,
    num_frames: int = 8,
    num_workers: int | None = None,
    seconds_per_file: float = _SECONDS_PER_FILE,
    probe: Callable[[File], Probe] = probe_video,
) -> DataReport:
    """
    Decodes every frame of every video, in other processes and with a progress bar. A file that crashes the codec
    library is a finding, and the check goes on.

    Args:
        listing: see `read_listing`.
        num_frames: a video with fewer is too short.
        num_workers: processes; by default one per CPU.
        seconds_per_file: a file that takes longer is unreadable.
        probe: decodes one file.

    Raises:
        ValueError: the listing is empty.
    """
    if not listing.videos:
        raise ValueError(f"{listing.source} lists no video.")
    files = list(dict.fromkeys(_file_of(video) for video in listing.videos))
    probes: dict[File, Probe] = {}
    results = map_isolated(probe, files, num_workers=num_workers or os.cpu_count() or 1, seconds=seconds_per_file)
    for index, result in tqdm(results, total=len(files), desc="checking", unit=" videos"):
        died = isinstance(result, Died)
        probes[files[index]] = Probe(error=f"the process that decoded it {result.cause}") if died else result
    findings = [finding for video in listing.videos for finding in _file_findings(video, probes, num_frames)]
    findings += [*_label_findings(listing), *_repetitions(listing)]
    out = {(finding.video, finding.where) for finding in findings if finding.kind in (*PROBLEMS, "repeated")}
    usable = [video for video in listing.videos if (video.path, video.where) not in out]
    return DataReport(str(listing.source), len(listing.videos), findings, usable, list(listing.class_names))


def _file_of(video: ListedVideo) -> File:
    return os.path.abspath(video.path), video.span


def _file_findings(video: ListedVideo, probes: dict[File, Probe], num_frames: int) -> Iterable[Finding]:
    result = probes[_file_of(video)]
    unlike = f"its content is {result.content}, which its name does not say" if result.content else ""
    if result.error is not None:
        kind = "sound_only" if result.is_sound_only else "wrong_extension" if result.content else "unreadable"
        reason = f"{result.error}; {unlike}" if unlike else result.error
        yield Finding(kind, video.path, reason, video.where)
        return
    if result.content:
        yield Finding("readable_wrong_extension", video.path, unlike, video.where)
    if result.num_frames < num_frames:
        reason = f"has {result.num_frames} frames, a clip {num_frames}"
        yield Finding("too_short", video.path, reason, video.where)


def _label_findings(listing: VideoListing) -> Iterable[Finding]:
    labels: dict[File, set[int | None]] = {}
    for video in listing.videos:
        labels.setdefault(_file_of(video), set()).add(video.label)
    ids = {name.lower(): index for index, name in enumerate(listing.class_names)}
    for video in listing.videos:
        folder = words_of(Path(video.path).parent.name).lower()
        if video.label is None:
            reason = f"expected {listing.expected}, found {video.written!r}"
        elif len(labels[_file_of(video)]) > 1:
            reason = f"is listed under several labels; here as {listing.class_names[video.label]!r}"
        elif ids.get(folder, video.label) != video.label:
            reason = f"is in the folder {folder!r}, and its label is {listing.class_names[video.label]!r}"
        else:
            continue
        yield Finding("mislabelled", video.path, reason, video.where)


def _repetitions(listing: VideoListing) -> Iterable[Finding]:
    first: dict[tuple[File, int | None], str] = {}
    for video in listing.videos:
        where = first.setdefault((_file_of(video), video.label), video.where)
        if where != video.where:
            yield Finding("repeated", video.path, f"the same as in {where}; kept once", video.where)
