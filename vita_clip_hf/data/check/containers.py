"""Recognises a file's container by its first bytes, and compares it with the file's extension."""

import os

# Extensions of each kind of content. Archives, images and text are here for failed downloads, or frames in place of
# videos.
_EXTENSIONS = {
    "MP4 or MOV": (".mp4", ".m4v", ".mov", ".3gp", ".3g2", ".f4v"),
    "Matroska or WebM": (".mkv", ".webm"),
    "AVI": (".avi", ".divx"),
    "Flash video": (".flv", ".f4v"),
    "Ogg": (".ogv", ".ogg"),
    "MPEG transport stream": (".ts", ".mts", ".m2ts", ".mpg", ".mpeg"),
    "MPEG program stream": (".mpg", ".mpeg", ".vob"),
    "Windows media": (".wmv", ".asf"),
    "WAV sound": (),
    "MP3 sound": (),
    "PNG image": (),
    "JPEG image": (),
    "GIF image": (".gif",),
    "ZIP archive": (),
    "text": (),
}
_MAGIC = (
    (4, b"ftyp", "MP4 or MOV"),
    (4, b"moov", "MP4 or MOV"),
    (4, b"mdat", "MP4 or MOV"),
    (0, b"\x1a\x45\xdf\xa3", "Matroska or WebM"),
    (8, b"AVI ", "AVI"),
    (8, b"WAVE", "WAV sound"),
    (0, b"FLV", "Flash video"),
    (0, b"OggS", "Ogg"),
    (0, b"\0\0\1\xba", "MPEG program stream"),
    (0, b"\x30\x26\xb2\x75\x8e\x66\xcf\x11", "Windows media"),
    (0, b"ID3", "MP3 sound"),
    (0, b"\xff\xfb", "MP3 sound"),
    (0, b"\x89PNG", "PNG image"),
    (0, b"\xff\xd8\xff", "JPEG image"),
    (0, b"GIF8", "GIF image"),
    (0, b"PK\3\4", "ZIP archive"),
)
_HEAD_SIZE = 4096


def content_unlike_name(path: str) -> str | None:
    """The kind of the file's content if its extension names another; `None` if they agree or the kind is not known."""
    if not os.path.isfile(path):  # of a pipe nothing may ever come
        return None
    try:
        with open(path, "rb") as file:
            head = file.read(_HEAD_SIZE)
    except OSError:  # the reader names the cause
        return None
    content = _content_of(head)
    if content is None or os.path.splitext(path)[1].lower() in _EXTENSIONS[content]:
        return None
    return content


def _content_of(head: bytes) -> str | None:
    for offset, magic, content in _MAGIC:
        if head[offset : offset + len(magic)] == magic:
            return content
    if head[:377:188] == b"GGG" or head[4:389:192] == b"GGG":
        return "MPEG transport stream"
    return "text" if head and b"\0" not in head else None
