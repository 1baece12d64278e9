"""URLs of strangers, and playlists that name further files: every number gives one."""

from collections.abc import Callable
from functools import partial
from pathlib import Path
from urllib.parse import quote, urlsplit

import numpy as np

# A server may answer in these ways, and a video comes of it.
READ = ("video", "hops/3", "endless_redirect")
REFUSED = (
    *("empty", "page", "short", "reset", "nothing", "noise", "announces/3000000000", "announces/-1", "announces/many"),
    *("endless", "bomb", "packed/gzip", "packed/deflate", "misnamed/br", "slow_body", "slow_header", "slow_chunk"),
    *("silence", "loop", "hops/9", "to/file:///etc/passwd", "to/ftp://host/a.mp4", "to/http://", "to/", "status/404"),
    *("status/500", "status/204", "status/403"),
)
# Other names of this machine and of private networks; `{port}` is the server's.
PRIVATE = (
    *("http://127.0.0.1:{port}", "http://localhost:{port}", "http://LOCALHOST.:{port}", "http://2130706433:{port}"),
    *("http://0x7f.1:{port}", "http://0x7f000001:{port}", "http://127.1:{port}", "http://0177.0.0.1:{port}"),
    *("http://017700000001:{port}", "http://0:{port}", "http://0.0.0.0:{port}", "http://127.0.1.1:{port}"),
    *(
        "http://[::1]:{port}",
        "http://[::]:{port}",
        "http://[::ffff:127.0.0.1]:{port}",
        "http://[::ffff:7f00:1]:{port}",
    ),
    *("http://[64:ff9b::7f00:1]:{port}", "http://[2002:7f00:1::]:{port}", "http://[::127.0.0.1]:{port}"),
    *("http://10.0.0.1", "http://172.16.0.1", "http://192.168.0.1", "http://169.254.169.254/latest/meta-data"),
    *("http://100.64.0.1", "http://224.0.0.1", "http://240.0.0.1", "http://255.255.255.255", "http://[fe80::1]"),
    *("http://[fc00::1]", "http://[ff02::1]", "http://me:secret@127.0.0.1:{port}", "HTTP://127.0.0.1:{port}"),
    *(
        "http://127\u30020\u30020\u30021:{port}",
        "file:///etc/passwd",
        "FILE://localhost/etc/passwd",
        "ftp://127.0.0.1",
    ),
    *("rtsp://127.0.0.1:{port}/a", "data:video/mp4;base64,AAAA", "gopher://127.0.0.1:{port}", "concat:/etc/passwd"),
    *("http://", "http:///a", "http://a..b/", "http://[::1", "http://127.0.0.1:99999/", "http://\0/", "https://\n/"),
)
# `{target}` is a URL whose call leaves a trace, or a file of this machine.
PLAYLISTS = (
    "#EXTM3U\n#EXT-X-TARGETDURATION:1\n#EXTINF:1,\n{target}\n#EXT-X-ENDLIST\n",
    '#EXTM3U\n#EXT-X-MEDIA-SEQUENCE:0\n#EXT-X-KEY:METHOD=AES-128,URI="{target}"\n#EXTINF:1,\n{target}\n',
    '#EXTM3U\n#EXT-X-MAP:URI="{target}"\n#EXTINF:1,\nconcat:{target}|{target}\n#EXT-X-ENDLIST\n',
    "\ufeff#EXTM3U\n#EXTINF:1,\n{target}\n",
    "ffconcat version 1.0\nfile '{target}'\nfile '/etc/passwd'\n",
    ";FFMETADATA1\ntitle={target}\n",
    "v=0\r\no=- 0 0 IN IP4 127.0.0.1\r\ns=x\r\nc=IN IP4 127.0.0.1\r\nt=0 0\r\nm=video 5004 RTP/AVP 96\r\n",
    "s=x\nc=IN IP4 127.0.0.1\nm=video 5004 RTP/AVP 96\na=control:{target}\n",
    "[playlist]\nFile1={target}\nNumberOfEntries=1\n",
    "[Reference]\nRef1={target}\n",
    '<asx version="3.0"><entry><ref href="{target}"/></entry></asx>',
    '<?xml version="1.0"?><MPD xmlns="urn:mpeg:dash:schema:mpd:2011"><BaseURL>{target}</BaseURL></MPD>',
    '<?xml version="1.0"?><playlist xmlns="http://xspf.org/ns/0/"><track><location>{target}</location></track></playlist>',
    '<smil><body><video src="{target}"/></body></smil>',
    "# VobSub index file, v7\nid: en, index: 0\n",
    "\n   free\nc=IN IP4 127.0.0.1\n\0\0\0\0",
    "#!/bin/sh\nwget {target}\n",
    "%03d.png\n",
)
NAMES = ("list.m3u8", "list.mp4", "list.avi", "list.sdp", "list.txt", "list%03d.png", "list.mpd", "list.ts", "list")


def read_url(url: str, allow_private: bool) -> str:
    from vita_clip_hf.modeling.video_source_vita_clip import DownloadLimits, locate_video

    limits = DownloadLimits(num_bytes=1_000_000, seconds=2.0, connect_seconds=2.0, redirects=5)
    with locate_video(url, allow_private=allow_private, limits=limits) as video:
        return f"{Path(video.path).stat().st_size} bytes"


def read_list(path: Path, as_bytes: bool) -> str:
    from vita_clip_hf.modeling.video_reading_vita_clip import VideoReader

    return f"{VideoReader(path.read_bytes() if as_bytes else path).num_frames} frames"


def input_of(number: int, seed: int, server: str, folder: Path) -> tuple[Callable[[], str], str, str, bool]:
    """What to call, the name that an error must have, what the input is, and whether only a refusal is right."""
    random = np.random.default_rng([seed, 4, number])
    kind = number % 3
    if kind == 0:
        path = (READ + REFUSED)[number // 3 % len(READ + REFUSED)]
        url = f"{server}/{path}"
        return partial(read_url, url, True), url, f"answer {path}", path in REFUSED
    if kind == 1:
        form = PRIVATE[number // 3 % len(PRIVATE)].replace("{port}", str(urlsplit(server).port))
        url = (
            f"{form}/canary/{quote(str(folder / 'canary'))}"
            if "{port}" in PRIVATE[number // 3 % len(PRIVATE)]
            else form
        )
        return partial(read_url, url, False), "", f"address {form!a}", True
    text = PLAYLISTS[number // 3 % len(PLAYLISTS)]
    target = str(
        random.choice([f"{server}/canary/{quote(str(folder / 'canary'))}", "file:///etc/passwd", "/etc/passwd"])
    )
    path = folder / str(random.choice(NAMES))
    path.write_text(text.replace("{target}", target), encoding="utf-8")
    as_bytes = bool(random.random() < 0.4)
    name = f"<{path.stat().st_size} bytes>" if as_bytes else str(path)
    return partial(read_list, path, as_bytes), name, f"playlist {text[:12]!a}", True
