"""What a video's container says before anything is decoded: its kind, codecs and size, and why it is not opened."""

import re
import struct
from dataclasses import dataclass
from typing import BinaryIO

# MP4 and MOV files begin with the length of a box and one of these names.
_MP4_BOXES = (b"ftyp", b"moov", b"mdat", b"wide", b"free", b"skip", b"pnot", b"styp", b"uuid", b"junk", b"udta")
_MATROSKA, _MATROSKA_CLUSTER = b"\x1a\x45\xdf\xa3", b"\x1f\x43\xb6\x75"
_LONGEST_HEADER = 64 * 1024**2
# Of these each packet of MP4 and Matroska is one frame. MPEG-4 and VP8 have packets that show nothing.
_ONE_FRAME_PER_PACKET = {
    *(b"avc1", b"avc3", b"hvc1", b"hev1", b"dvh1", b"dvhe", b"vp09", b"av01"),
    *(b"V_MPEG4/ISO/AVC", b"V_MPEGH/ISO/HEVC", b"V_VP9", b"V_AV1"),
}


@dataclass
class Container:
    """
    Attributes:
        kind: "mp4", "matroska", "avi", "ogg", "ts" (MPEG transport stream), "raw" (no container), or "".
        packets_are_frames: whether the codec guarantees that each packet is one frame.
        has_video: whether a video track is described; `None` if that is not known.
        height, width: of the largest frames, as the header of MP4 and Matroska has them, 0 if not known.
        turns_too_many: quarter turns to the left that decord adds: 1 if the display matrix asks for a turn of at most
            45 degrees to the left, else 0.
        num_chunks: of the video in an AVI file, empty ones too, which repeat the frame before;
            0 if not known, or the file was cut off.
        promise: place of the number of frames in the header of an AVI file that cannot hold as many (one that was
            written to a pipe), else 0.
    """

    kind: str = ""
    packets_are_frames: bool = False
    has_video: bool | None = None
    height: int = 0
    width: int = 0
    turns_too_many: int = 0
    num_chunks: int = 0
    promise: int = 0


def look_into(path: str, head: bytes) -> Container:
    """
    Args:
        path: of the file.
        head: its first bytes.
    """
    with open(path, "rb") as file:
        if head[4:8] in _MP4_BOXES:
            return _look_into_mp4(file)
        if head.startswith(_MATROSKA):
            tracks = file.read(1024**2).partition(_MATROSKA_CLUSTER)[0]
            codecs = set(re.findall(rb"\x86[\x81-\xa0](V_[A-Z0-9/]+)", tracks))
            size = re.search(rb"\xb0\x82(..)\xba\x82(..)", tracks, re.DOTALL)  # PixelWidth, PixelHeight
            width, height = struct.unpack(">HH", size[1] + size[2]) if size else (0, 0)
            are_frames = bool(codecs) and codecs <= _ONE_FRAME_PER_PACKET
            return Container("matroska", are_frames, bool(codecs), height, width)
        if head.startswith(b"RIFF"):
            stream = re.search(rb"strh.{4}vids(.{4}).{24}(.{4})", head, re.DOTALL)
            if stream is None:
                return Container("avi")
            are_frames = stream[1].upper() in (b"H264", b"X264", b"AVC1", b"HEVC", b"H265")
            num_chunks, num_bytes = int.from_bytes(stream[2], "little"), file.seek(0, 2)
            if num_chunks > num_bytes:
                return Container("avi", are_frames, promise=stream.start(2))
            is_whole = int.from_bytes(head[4:8], "little") <= num_bytes
            return Container("avi", are_frames, num_chunks=num_chunks if is_whole else 0)
    if head.startswith(b"OggS"):
        return Container("ogg", has_video=b"theora" in head)
    if is_transport_stream(head):
        return Container("ts")
    return Container("raw" if head.startswith(b"\0\0") and head[:4] != b"\0\0\1\xba" else "")


def is_transport_stream(head: bytes) -> bool:
    """Whether the sync byte "G" comes back at the distance of packets, wherever the recording starts."""
    starts = ((start, length) for length in (188, 192, 204) for start in range(length))
    return any(head[start : start + 4 * length + 1 : length] == b"GGGGG" for start, length in starts)


def _look_into_mp4(file: BinaryIO) -> Container:
    container = Container("mp4")
    movie, codecs = _movie_box(file), set()
    for entry in re.finditer(rb"vmhd(?:(?!trak).)*?stsd.{12}(....).{24}(..)(..)", movie, re.DOTALL):
        codecs.add(entry[1])
        width, height = struct.unpack(">HH", entry[2] + entry[3])
        if height * width > container.height * container.width:
            container.height, container.width = height, width
            container.turns_too_many = int(_leans_left(movie, movie.rfind(b"tkhd", 0, entry.start())))
    container.packets_are_frames = bool(codecs) and codecs <= _ONE_FRAME_PER_PACKET
    container.has_video = bool(codecs)
    return container


def _leans_left(movie: bytes, header: int) -> bool:
    """Whether the matrix in the track header at this place is that of a turn to the left by at most 45 degrees."""
    first_row = header + (56 if movie[header + 4 : header + 5] == b"\1" else 44)
    cosine, sine = struct.unpack(">ii", movie[first_row : first_row + 8].ljust(8, b"\0"))
    return header >= 0 and sine < 0 <= cosine + sine


def _movie_box(file: BinaryIO) -> bytes:
    """The content of the box that describes the tracks; it stands before or after the frames."""
    position, size = 0, file.seek(0, 2)
    while position + 16 <= size:
        file.seek(position)
        length, kind, long_length = struct.unpack(">I4sQ", file.read(16))
        if kind == b"moov":
            return file.read(min(length, _LONGEST_HEADER))
        position += {0: size, 1: max(long_length, 16)}.get(length, max(length, 8))
    return b""


def reason_not_opened(message: str, container: Container) -> str:
    """Why decord does not open a file, from its message and what the container says."""
    if "cannot find video stream" in message:
        return "has no video stream (sound only?)"
    if "measure duration" in message:
        if container.has_video is False and container.kind in ("mp4", "matroska"):
            return "has no video stream (sound only; its one picture is cover art)"
        # Raw H.264 and H.265 have no times, which MP4 makes up and Matroska does not; an edit list made of them would
        # hide frames.
        target = "-use_editlist 0 FILE.mp4" if container.kind == "raw" else "FILE.mkv"
        return (
            "decord finds neither its length nor the way back to its start; put it into another container: "
            f"`ffmpeg -i FILE -c copy {target}`"
        )
    # The second message: ffmpeg found no picture that tells the pixel format.
    if re.search("frame.count", message, re.IGNORECASE) or "Cannot create buffer source" in message:
        return "its video stream has no frames"
    if container.kind == "mp4":
        return "incomplete MP4/MOV file: its index is missing or damaged, as when a recording or download was cut off"
    if message.startswith("Error reading"):
        return "is not a video, or is damaged from its first bytes on"
    return f"cannot be opened ({message})"
