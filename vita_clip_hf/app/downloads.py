"""A video at a URL, as a file that the page can play."""

import os
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from urllib.parse import urlsplit

from ..data.formats.files import VIDEO_EXTENSIONS
from ..hub_cards.handler import RequestError
from ..modeling.video_source_vita_clip import locate_video


@contextmanager
def downloaded(url: str) -> Iterator[Path]:
    """
    The video at an http(s) address, in a file that is there for a while. The environment's limits hold, and no address
    of this machine or of a private network is asked.

    Raises:
        RequestError: it is no http(s) address, cannot be had, or is no video.
    """
    url = url.strip()
    if not url.lower().startswith(("http://", "https://")):
        raise RequestError(f"expected an http or https address, found {url[:80]!r}")
    with tempfile.TemporaryDirectory(prefix="vita-clip-") as folder:
        path = Path(folder) / f"video{_ending(url)}"
        try:
            with locate_video(url, allow_private=False) as video:
                shutil.copyfile(video.path, path)
        except OSError as error:
            raise RequestError(" ".join(str(error).split())) from error
        yield path


def _ending(url: str) -> str:
    ending = os.path.splitext(urlsplit(url).path)[1].lower()
    return ending if ending in VIDEO_EXTENSIONS else ".mp4"


__all__ = ["downloaded"]
