"""Videos with damage from a seed: every number gives one file."""

import io
from collections.abc import Callable
from functools import partial
from pathlib import Path

import av
import numpy as np

Random = np.random.Generator
MP4 = ("mp4", "mov")
# Container, codec, pixel format.
FORMATS = (
    ("mp4", "libx264", "yuv420p"),
    ("mov", "libx264", "yuv420p"),
    ("mkv", "libx264", "yuv420p"),
    ("avi", "libx264", "yuv420p"),
    ("flv", "libx264", "yuv420p"),
    ("ts", "libx264", "yuv420p"),
    ("h264", "libx264", "yuv420p"),
    ("mp4", "libx265", "yuv420p10le"),
    ("mp4", "mpeg4", "yuv420p"),
    ("avi", "mpeg4", "yuv420p"),
    ("3gp", "mpeg4", "yuv420p"),
    ("mpg", "mpeg2video", "yuv420p"),
    ("ts", "mpeg2video", "yuv420p"),
    ("avi", "mjpeg", "yuvj420p"),
    ("mov", "png", "rgb24"),
    ("wmv", "wmv2", "yuv420p"),
    ("webm", "libvpx", "yuv420p"),
    ("webm", "libvpx-vp9", "yuv420p"),
    ("mkv", "libsvtav1", "yuv420p"),
    ("gif", "gif", "rgb8"),
)
SIZES = ((64, 48), (176, 144), (50, 34))
ABSURD = (0, 1, 0x7F, 0xFF, 0x7FFF, 0xFFFF, 0x7FFFFFFF, 0x80000000, 0xFFFFFFFE, 0xFFFFFFFF, 0x01000000)
HOLDERS_OF_NUMBERS = (
    *(b"tkhd", b"mdhd", b"stsz", b"stco", b"stsc", b"stts", b"ctts", b"stss", b"elst", b"stsd", b"avc1", b"hvc1"),
    *(b"avih", b"strh", b"strf", b"idx1", b"movi"),
    *(b"\x16\x54\xae\x6b", b"\x1c\x53\xbb\x6b", b"\x1f\x43\xb6\x75"),  # Matroska: tracks, cues, clusters
)
HONEST = 25  # every so many the file is whole
BOMB = 500  # every so many the picture is 8192 x 8192, from a file of a few hundred kB


def write_bases(folder: Path, extra: Path | None = None) -> list[Path]:
    """Whole videos of every format that this machine can write; those of `extra` beside them."""
    folder.mkdir(parents=True, exist_ok=True)
    found = []
    for container, codec, pixels in FORMATS:
        for size in SIZES[: 3 if codec in ("libx264", "mpeg4", "libvpx") else 1]:
            path = folder / f"{codec}_{size[0]}x{size[1]}.{container}"
            if not path.exists() and codec in av.codecs_available:
                part = path.with_suffix(f".part.{container}")
                _encode(part, codec, pixels, size)
                part.replace(path)
            found += [path] if path.exists() else []
    return found + sorted(path for path in (extra.iterdir() if extra else ()) if path.is_file())


def write_bomb(path: Path) -> Path:
    """Two pictures of 8192 x 8192."""
    if not path.exists():
        _encode(path, "libx264", "yuv420p", (8192, 8192), num_frames=2, preset="ultrafast")
    return path


def _encode(path: Path, codec: str, pixels: str, size: tuple[int, int], num_frames: int = 40, **options: str) -> None:
    width, height = size
    with av.open(str(path), "w") as container:
        stream = container.add_stream(codec, rate=25, options=options)
        stream.width, stream.height, stream.pix_fmt = width, height, pixels
        stream.codec_context.gop_size = 12
        for number in range(num_frames):
            picture = np.full((height, width, 3), 6 * number % 256, dtype=np.uint8)
            picture[number % height, :, 1] = 255
            container.mux(stream.encode(av.VideoFrame.from_ndarray(picture)))
        container.mux(stream.encode(None))


# ---- damage ----


def _range(content: bytearray, random: Random, most: float = 0.3) -> tuple[int, int]:
    start = int(random.integers(0, len(content)))
    return start, min(len(content), start + 1 + int(random.integers(0, max(1, int(len(content) * most)))))


def flip_bits(content: bytearray, random: Random, begin: int, end: int) -> bytearray:
    for _ in range(int(2 ** random.uniform(0, 7))):
        content[int(random.integers(begin, end))] ^= 1 << int(random.integers(0, 8))
    return content


def flip_head(content: bytearray, random: Random, other: bytes) -> bytearray:
    return flip_bits(content, random, 0, min(len(content), 64))


def flip_header(content: bytearray, random: Random, other: bytes) -> bytearray:
    begin, end = _headers(content)
    return flip_bits(content, random, begin, end)


def flip_body(content: bytearray, random: Random, other: bytes) -> bytearray:
    return flip_bits(content, random, 0, len(content))


def truncate(content: bytearray, random: Random, other: bytes) -> bytearray:
    return content[: int(random.integers(1, len(content)))]


def splice(content: bytearray, random: Random, other: bytes) -> bytearray:
    return content[: int(random.integers(1, len(content)))] + other[int(random.integers(0, len(other))) :]


def absurd(content: bytearray, random: Random, other: bytes) -> bytearray:
    """A number of a header becomes one that no file has."""
    begin, end = _headers(content)
    for _ in range(int(random.integers(1, 4))):
        place, size = int(random.integers(begin, max(begin + 1, end - 8))), int(random.choice([1, 2, 4, 8]))
        value = int(random.choice(ABSURD)) & ((1 << 8 * min(size, 4)) - 1)
        content[place : place + size] = value.to_bytes(size, str(random.choice(["big", "little"])))
    return content


def absurd_field(content: bytearray, random: Random, other: bytes) -> bytearray:
    """As above, in a box whose numbers are sizes, counts and offsets."""
    places = [place for name in HOLDERS_OF_NUMBERS if (place := content.find(name)) >= 0]
    if not places:
        return absurd(content, random, other)
    place = int(random.choice(places)) + 4 * int(random.integers(-1, 12))
    place = min(max(place, 0), len(content) - 4)
    content[place : place + 4] = int(random.choice(ABSURD)).to_bytes(4, str(random.choice(["big", "little"])))
    return content


def zeros(content: bytearray, random: Random, other: bytes) -> bytearray:
    begin, end = _range(content, random)
    content[begin:end] = bytes(end - begin)
    return content


def noise(content: bytearray, random: Random, other: bytes) -> bytearray:
    begin, end = _range(content, random)
    content[begin:end] = random.bytes(end - begin)
    return content


def remove(content: bytearray, random: Random, other: bytes) -> bytearray:
    begin, end = _range(content, random)
    del content[begin:end]
    return content


def duplicate(content: bytearray, random: Random, other: bytes) -> bytearray:
    begin, end = _range(content, random)
    return content[:end] + content[begin:end] * int(random.integers(1, 4)) + content[end:]


def swap(content: bytearray, random: Random, other: bytes) -> bytearray:
    """Two neighbouring parts in the other order: boxes of an MP4, else any two."""
    cuts = _box_starts(content)
    cuts = cuts if len(cuts) > 2 else sorted(int(place) for place in random.integers(0, len(content), 3))
    first = int(random.integers(0, len(cuts) - 2))
    a, b, c = cuts[first : first + 3]
    return content[:a] + content[b:c] + content[a:b] + content[c:]


def twice(content: bytearray, random: Random, other: bytes) -> bytearray:
    return content + content


DAMAGE: tuple[Callable[[bytearray, Random, bytes], bytearray], ...] = (
    *(flip_head, flip_header, flip_header, flip_body, flip_body, truncate, truncate, splice, splice),
    *(absurd, absurd_field, absurd_field, zeros, noise, remove, duplicate, swap, twice),
)


def _box_starts(content: bytearray, begin: int = 0) -> list[int]:
    """Where the outer boxes of an MP4 or MOV begin, and where the last ends."""
    starts = [begin]
    while starts[-1] + 8 <= len(content):
        size = int.from_bytes(content[starts[-1] : starts[-1] + 4], "big")
        if size < 8 or starts[-1] + size > len(content):
            return []
        starts.append(starts[-1] + size)
    return starts


def _headers(content: bytearray) -> tuple[int, int]:
    """Where an MP4's index is; in other files, the beginning."""
    place = content.find(b"moov")
    if place > 0:
        return place, len(content) if content.find(b"mdat") < place else content.find(b"mdat")
    return 0, min(len(content), 2048)


def write_mutant(number: int, seed: int, bases: list[Path], folder: Path) -> tuple[Path, str]:
    """File and the names of what was done to which video."""
    random = np.random.default_rng([seed, 1, number])
    base = bases[int(random.integers(0, len(bases)))]
    if number == 0:  # the twin that others are compared with
        base = bases[0]
    if number % BOMB == BOMB - 1:
        return write_bomb(bases[0].parent / "bomb.mp4"), "bomb"
    content = bytearray(base.read_bytes())
    steps = []
    for _ in range(0 if number % HONEST == 0 else int(random.choice([1, 1, 1, 2, 3]))):
        damage = DAMAGE[int(random.integers(0, len(DAMAGE)))]
        other = bases[int(random.integers(0, len(bases)))].read_bytes()
        content = damage(content, random, other) or bytearray(b"\0")
        steps.append(damage.__name__)
    # Now and then the name lies.
    suffix = base.suffix if random.random() < 0.9 else str(random.choice([".mp4", ".avi", ".mkv", ".png", ".m3u8"]))
    path = folder / f"video_{number}{suffix}"
    path.write_bytes(content)
    return path, f"{'+'.join(steps) or 'whole'} of {base.name}"


# ---- reading ----

FRAMES_READ, JUMPS = 96, 4


def read(path: Path, number: int) -> str:
    """Frames in order, then in disorder, by the public reader, from a path, from bytes or from a file object."""
    from vita_clip_hf.modeling.video_reading_vita_clip import VideoReader

    source = (str, Path.read_bytes, lambda path: io.BytesIO(path.read_bytes()))[number % 3](path)
    reader = VideoReader(source)
    count = min(reader.num_frames, FRAMES_READ)
    for start in range(0, count, 16):
        reader.read_frames(range(start, min(start + 16, count)))
    jumps = np.random.default_rng(number).integers(0, reader.num_frames, JUMPS)
    reader.read_frames(jumps)
    return f"{count} of {reader.num_frames} frames"


def input_of(number: int, seed: int, bases: list[Path], folder: Path) -> tuple[Callable[[], str], str, str]:
    """What to call, the name that an error must have, and what the input is."""
    path, what = write_mutant(number, seed, bases, folder)
    name = str(path) if number % 3 == 0 else (f"<{path.stat().st_size} bytes>" if number % 3 == 1 else "<BytesIO>")
    return partial(read, path, number), name, f"{what} as {('path', 'bytes', 'file object')[number % 3]}"
