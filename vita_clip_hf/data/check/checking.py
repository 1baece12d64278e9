"""Decodes a data set whole and finds its problems."""

import os
from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor, as_completed
from pathlib import Path

from tqdm.auto import tqdm

from ...names import words_of
from ..formats.listing import ListedVideo, VideoListing
from ..sampling import TrainingSampling, fitting_stride
from .probe import File, Probe, probe_video
from .report import PROBLEMS, DataReport, Finding, StrideFit


def check_data(
    listing: VideoListing,
    *,
    sampling: str = "strided",
    num_frames: int = 8,
    sampling_stride: int = 16,
    num_workers: int | None = None,
    probe: Callable[[File], Probe] = probe_video,
) -> DataReport:
    """
    Decodes every frame of every video and jumps to one of them, in parallel and with a progress bar.

    Args:
        listing: see `read_listing`.
        sampling, sampling_stride: of the training that the data is for, see `TrainingSampling`: with "strided" the
            report says how many videos are too short for the stride.
        num_frames: of a clip; a video with fewer is too short.
        num_workers: threads, each with a decoder of its own; by default one per CPU.
        probe: decodes one file.

    Raises:
        ValueError: the listing is empty, or a setting makes no sense.
        OSError: no file can be decoded, for example because the decoder cannot be started.
    """
    at_test_time = TrainingSampling(sampling, num_frames, sampling_stride).at_test_time()
    if num_workers is not None and num_workers < 1:
        raise ValueError(f"num_workers must be 1 or more, found {num_workers}.")
    if not listing.videos:
        raise ValueError(f"{listing.source} lists no video.")
    files = list(dict.fromkeys(_file_of(video) for video in listing.videos))
    probes = _probe_all(probe, files, num_workers or os.cpu_count() or 1)
    findings = [finding for video in listing.videos for finding in _file_findings(video, probes, num_frames)]
    findings += [*_label_findings(listing), *_repetitions(listing)]
    out = {(finding.video, finding.where) for finding in findings if finding.kind in (*PROBLEMS, "repeated")}
    return DataReport(
        source=str(listing.source),
        num_listed=len(listing.videos),
        findings=findings,
        usable=[video for video in listing.videos if (video.path, video.where) not in out],
        class_names=list(listing.class_names),
        left_out=listing.left_out,
        stride_fit=_stride_fit(probes, at_test_time.num_frames, at_test_time.frame_stride)
        if at_test_time.sampling == "strided"
        else None,
    )


def _file_of(video: ListedVideo) -> File:
    return os.path.abspath(video.path), video.span


def _probe_all(probe: Callable[[File], Probe], files: Sequence[File], num_workers: int) -> dict[File, Probe]:
    probes: dict[File, Probe] = {}
    with ThreadPoolExecutor(min(num_workers, len(files))) as pool:
        futures = {pool.submit(probe, file): file for file in files}
        try:
            for future in tqdm(as_completed(futures), total=len(files), desc="checking", unit=" videos"):
                probes[futures[future]] = future.result()
        except BaseException:  # Ctrl-C too: the files that wait are not begun
            pool.shutdown(wait=False, cancel_futures=True)
            raise
    return probes


def _stride_fit(probes: dict[File, Probe], num_frames: int, stride: int) -> StrideFit | None:
    counts = [result.num_frames for result in probes.values() if result.error is None]
    if not counts:
        return None
    needed = (num_frames - 1) * stride + 1
    return StrideFit(
        num_frames=num_frames,
        sampling_stride=stride,
        num_videos=len(counts),
        num_shorter=sum(count < needed for count in counts),
        fitting_stride=fitting_stride(counts, num_frames),
    )


def _file_findings(video: ListedVideo, probes: dict[File, Probe], num_frames: int) -> Iterable[Finding]:
    result = probes[_file_of(video)]
    unlike = f"its content is {result.content}, which its name does not say" if result.content else ""
    if result.error is not None:
        kind = "sound_only" if result.is_sound_only else "wrong_extension" if result.content else "unreadable"
        reason = f"{result.error}; {unlike}" if unlike else result.error
        yield Finding(kind, video.path, reason, video.where)
        return
    if result.wrong_frame is not None:
        reason = f"a jump to frame {result.wrong_frame} gives another picture than playing the file does"
        yield Finding("wrong_frame", video.path, reason, video.where)
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
