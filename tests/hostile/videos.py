"""
Intact videos of many kinds, each compared frame by frame with PyAV's: container x codec x B-frames x frame rate x size
x rotation x variable rate x cut by copying.

    PYTHONPATH=tests python -m hostile.videos --seed 0 --count 200 --folder FOLDER

prints one line a video and a table; the exit status is 1 if a frame was wrong or too many videos were refused.
"""

import argparse
import os
import random
import sys
import time
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from fractions import Fraction
from itertools import pairwise
from pathlib import Path

import av
import numpy as np
from hostile.page import put_table, rows
from vita_clip_hf.modeling.video_reading_vita_clip import VideoReader, VideoReadError

CONTAINERS = {
    "mp4": ("libx264", "libx265", "mpeg4", "libvpx-vp9", "libsvtav1"),
    "mov": ("libx264", "mpeg4", "mjpeg"),
    "mkv": ("libx264", "libx265", "mpeg4", "libvpx", "libvpx-vp9", "mpeg2video", "mjpeg"),
    "webm": ("libvpx", "libvpx-vp9"),
    "avi": ("libx264", "mpeg4", "mpeg2video", "mjpeg", "msmpeg4v3"),
    "flv": ("libx264", "flv"),
    "ts": ("libx264", "mpeg2video"),
    "mpg": ("mpeg2video", "mpeg1video"),
}
# Of these none may be refused, but for MPEG-4 that was cut inside a group of pictures, if decord cannot go back to its
# start: PyAV shows its first frames broken, and to leave them out would move all others.
PROMISED_CONTAINERS = ("mp4", "mkv", "webm", "avi")
PROMISED_CODECS = ("libx264", "libx265", "mpeg4", "libvpx", "libvpx-vp9")
WITH_B_FRAMES = ("libx264", "libx265", "mpeg4", "mpeg2video")
FIXED_RATES = ("mpeg2video", "mpeg1video")
RATES = (Fraction(25), Fraction(30000, 1001), Fraction(24), Fraction(15), Fraction(60), Fraction(10))
SIZES = ((64, 48), (48, 64), (50, 34), (176, 144), (320, 180), (66, 50), (33, 21), (127, 95))


@dataclass
class Kind:
    """What a generated video is like."""

    container: str
    codec: str
    num_b_frames: int
    rate: Fraction
    size: tuple[int, int]
    group: int
    num_frames: int
    rotation: int = 0
    is_variable: bool = False
    is_piped: bool = False
    cut_after: int = 0  # packets that are left out at the start, without encoding anew

    def __str__(self) -> str:
        width, height = self.size
        marks = [f"{self.codec}", f"{width}x{height}", f"{float(self.rate):.5g}/s", f"b{self.num_b_frames}"]
        marks += [f"rotated {self.rotation}"] * bool(self.rotation) + ["variable rate"] * self.is_variable
        marks += ["piped"] * self.is_piped + [f"cut after {self.cut_after}"] * bool(self.cut_after)
        return f"{self.container}: {', '.join(marks)}"


@dataclass
class Outcome:
    """`cause` says why a video was refused, or which frame was wrong."""

    kind: Kind
    verdict: str  # "exact", "refused" or "wrong"
    cause: str = ""
    seconds: float = 0.0


def generate(seed: int, folder: Path, count: int = 200) -> Iterator[tuple[Path, Kind]]:
    """Writes videos of random kinds, the same for the same seed."""
    random_of = random.Random(seed)
    pairs = [(container, codec) for container, codecs in CONTAINERS.items() for codec in codecs]
    for number in range(count):
        container, codec = pairs[number % len(pairs)]
        kind = choose_kind(container, codec, random_of)
        path = folder / f"{number:03d}.{container}"
        write(path, kind, random_of)
        yield path, kind


def choose_kind(container: str, codec: str, random_of: random.Random) -> Kind:
    size = random_of.choice(SIZES)
    if codec not in ("libx264", "libvpx", "libvpx-vp9", "mpeg4", "mjpeg"):
        size = (max(size[0] // 2 * 2, 64), max(size[1] // 2 * 2, 64))
    kind = Kind(
        container,
        codec,
        num_b_frames=random_of.choice((0, 2, 3)) if codec in WITH_B_FRAMES else 0,
        rate=random_of.choice(RATES[:3] if codec in FIXED_RATES else RATES),
        size=size,
        group=random_of.choice((1, 8, 12, 250)),
        num_frames=random_of.choice((1, 2, 30, 61, 90) if container != "ts" else (30, 61, 90)),
    )
    if container in ("mp4", "mov") and random_of.random() < 0.3:
        kind.rotation = random_of.choice((90, 180, 270))
    if container in ("mp4", "mkv", "webm") and random_of.random() < 0.3:
        kind.is_variable = True
    if container in ("mkv", "webm", "flv", "avi") and random_of.random() < 0.25:
        kind.is_piped = True
    can_be_cut = container in ("mp4", "mkv", "flv") and codec in ("libx264", "mpeg4")
    if can_be_cut and kind.group < 20 < kind.num_frames and random_of.random() < 0.4:
        kind.cut_after = 5
    return kind


def write(path: Path, kind: Kind, random_of: random.Random) -> None:
    whole = path.with_suffix(f".whole{path.suffix}") if kind.cut_after else path
    with Pipe(whole) if kind.is_piped else open(whole, "wb+") as file, av.open(file, "w", _format(kind)) as container:
        encode(container, kind, random_of)
    if kind.cut_after:
        cut(whole, path, kind)
        whole.unlink()


class Pipe:
    """A file that cannot go back, as a pipe cannot: what is written first stays as it is."""

    def __init__(self, path: Path):
        self._file = open(path, "wb")  # noqa: SIM115

    def write(self, data: bytes) -> int:
        return self._file.write(data)

    def __enter__(self) -> "Pipe":
        return self

    def __exit__(self, *exception: object) -> None:
        self._file.close()


def _format(kind: Kind) -> str:
    return {"mkv": "matroska", "ts": "mpegts", "mpg": "mpeg"}.get(kind.container, kind.container)


def encode(container: av.container.OutputContainer, kind: Kind, random_of: random.Random) -> None:
    width, height = kind.size
    stream = container.add_stream(kind.codec, rate=kind.rate)
    stream.width, stream.height = width, height
    stream.pix_fmt = {"mjpeg": "yuvj420p"}.get(kind.codec, "yuv420p")
    if kind.codec == "libx264" and (width % 2 or height % 2):
        stream.pix_fmt = "yuv444p"
    stream.codec_context.gop_size = kind.group
    stream.codec_context.max_b_frames = kind.num_b_frames
    if kind.rotation:
        stream.set_display_rotation(kind.rotation)
    stream.options = ENCODER_OPTIONS.get(kind.codec, {})
    os.environ.setdefault("SVT_LOG", "0")  # of the AV1 encoder, which talks
    shown = 0
    for number in range(kind.num_frames):
        frame = av.VideoFrame.from_ndarray(picture(number, kind.size, random_of))
        if kind.is_variable:
            frame.pts, frame.time_base = shown, 1 / kind.rate
            shown += random_of.choice((1, 1, 1, 2, 4))
        container.mux(stream.encode(frame))
    container.mux(stream.encode(None))


ENCODER_OPTIONS = {
    "libx264": {"preset": "ultrafast", "sc_threshold": "0"},
    "libx265": {"preset": "ultrafast", "x265-params": "log-level=none"},
    "libvpx": {"deadline": "realtime", "cpu-used": "8", "auto-alt-ref": "1", "lag-in-frames": "12"},
    "libvpx-vp9": {"deadline": "realtime", "cpu-used": "8"},
    "libsvtav1": {"preset": "12"},
}


def picture(number: int, size: tuple[int, int], random_of: random.Random) -> np.ndarray:
    """Unlike that of any other number: eight bars, black or white, over a background that moves."""
    width, height = size
    image = np.full((height, width, 3), 40 + 3 * number % 160, dtype=np.uint8)
    image[: height // 2, :, random_of.randrange(3)] += 20
    for bit in range(8):
        left, right = bit * width // 8, (bit + 1) * width // 8
        image[height // 2 :, left:right] = 255 * (number >> bit & 1)
    return image


def cut(source: Path, target: Path, kind: Kind) -> None:
    """What `ffmpeg -c copy` makes: the packets from one on, without encoding anew."""
    with av.open(str(source)) as whole, av.open(str(target), "w", _format(kind)) as part:
        stream = whole.streams.video[0]
        copy = part.add_stream_from_template(stream)
        for packet in [packet for packet in whole.demux(stream) if packet.dts is not None][kind.cut_after :]:
            packet.stream = copy
            part.mux(packet)


def decode_with_pyav(path: Path) -> np.ndarray:
    """All frames, `(N, H, W, 3)`, turned upright."""
    with av.open(str(path)) as container:
        frames = container.decode(container.streams.best("video"))
        return np.stack([np.rot90(f.to_ndarray(format="rgb24"), round(f.rotation / 90) % 4) for f in frames])


def compare(path: Path, kind: Kind, random_of: random.Random) -> Outcome:
    """All frames in order, then single ones in random order, by one reader and by new ones."""
    start = time.monotonic()
    expected = decode_with_pyav(path)
    try:
        reader = VideoReader(path)
        if reader.num_frames != len(expected):
            return Outcome(kind, "wrong", f"{reader.num_frames} frames, expected {len(expected)}")
        cause = _difference(reader, list(range(reader.num_frames)), expected, kind)
        for again in (reader, VideoReader(path), reader):
            indices = [random_of.randrange(len(expected)) for _ in range(6)] + [len(expected) - 1]
            random_of.shuffle(indices)
            for index in indices:
                cause = cause or _difference(again, [index], expected, kind)
            cause = cause or _difference(again, indices, expected, kind)
    except VideoReadError as error:
        return Outcome(kind, "refused", str(error).partition(": ")[2], time.monotonic() - start)
    return Outcome(kind, "wrong" if cause else "exact", cause, time.monotonic() - start)


def _difference(reader: VideoReader, indices: list[int], expected: np.ndarray, kind: Kind) -> str:
    frames = reader.read_frames(indices).permute(0, 2, 3, 1).numpy()
    for index, frame in zip(indices, frames, strict=True):
        if index >= len(expected) or frame.shape != expected[index].shape:
            return f"frame {index} has the shape {frame.shape}"
        if not is_same_frame(frame, expected[index], kind):
            return f"frame {index} is another (asked for {indices[:8]})"
    return ""


def is_same_frame(frame: np.ndarray, expected: np.ndarray, kind: Kind) -> bool:
    """Equal; of odd sizes decord and PyAV interpolate colours in different ways, and the brightness must agree."""
    if np.array_equal(frame, expected):
        return True
    width, height = kind.size
    difference = np.abs(frame.astype(int).mean(axis=-1) - expected.astype(int).mean(axis=-1))
    return bool(width % 2 or height % 2) and np.median(difference) <= 2 and difference.mean() < 8


def drill(seed: int, count: int, folder: Path) -> list[Outcome]:
    """Generates and compares; the videos are read alone, then again in random order, each among others."""
    videos = list(generate(seed, folder, count))
    random_of = random.Random(seed)
    outcomes = []
    for path, kind in videos:
        outcomes.append(compare(path, kind, random_of))
        if outcomes[-1].verdict != "exact":
            print(f"{outcomes[-1].verdict}: {path.name}, {kind}: {outcomes[-1].cause}", flush=True)
    random_of.shuffle(videos)
    for first, second in pairwise(videos):
        outcomes += compare_two(first, second, random_of)
    return outcomes


def compare_two(first: tuple[Path, Kind], second: tuple[Path, Kind], random_of: random.Random) -> list[Outcome]:
    """Frames of two files in turns."""
    wrong = []
    try:
        readers = [(VideoReader(path), decode_with_pyav(path), kind) for path, kind in (first, second)]
        for _ in range(3):
            for reader, expected, kind in readers:
                if reader.num_frames != len(expected):
                    continue
                cause = _difference(reader, [random_of.randrange(len(expected))], expected, kind)
                wrong += [Outcome(kind, "wrong", f"{reader.name}, in turns: {cause}")] if cause else []
    except VideoReadError:
        return []  # counted where it was read alone
    return wrong


def table(outcomes: list[Outcome]) -> str:
    """Markdown: all videos, and a line for each cause of a refusal."""
    verdicts = Counter(outcome.verdict for outcome in outcomes)
    refused = Counter((o.kind.container, o.kind.codec, o.cause) for o in outcomes if o.verdict == "refused")
    lines = [["all", str(verdicts.total()), *(str(verdicts[each]) for each in ("exact", "refused", "wrong"))]]
    for (container, codec, cause), number in sorted(refused.items()):
        lines.append([f"{codec} in {container}: {cause.partition('; ')[0]}", "", "", str(number), ""])
    return rows(["videos", "tried", "all frames exact", "refused", "wrong frames"], *lines)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--count", type=int, default=200)
    parser.add_argument("--folder", type=Path, required=True)
    parser.add_argument("--render", type=Path, help="page to put the table into")
    arguments = parser.parse_args()
    arguments.folder.mkdir(parents=True, exist_ok=True)
    outcomes = drill(arguments.seed, arguments.count, arguments.folder)
    verdicts = Counter(outcome.verdict for outcome in outcomes)
    print(table(outcomes))
    if arguments.render:
        put_table(arguments.render, "videos", table(outcomes))
    broken_promises = [
        o
        for o in outcomes
        if o.verdict == "refused"
        and o.kind.container in PROMISED_CONTAINERS
        and o.kind.codec in PROMISED_CODECS
        and not (o.kind.cut_after and o.kind.codec == "mpeg4")
    ]
    return int(verdicts["wrong"] > 0 or verdicts["refused"] > arguments.count // 20 or bool(broken_promises))


if __name__ == "__main__":
    sys.exit(main())
