"""Pictures that move: GIF by Pillow, MP4 by PyAV (the extra `demo`)."""

from pathlib import Path

import numpy as np
from PIL import Image

from ..modeling.adapter_file_vita_clip import written_whole

SHORTEST_SIDE = 256  # pixels: smaller frames are enlarged, so that they can be seen
FORMATS = (".gif", ".mp4")


def write_animation(pictures: np.ndarray, path: Path, frames_per_second: float = 3.0) -> None:
    """
    Writes frames as `.gif` or `.mp4`, whole or not at all.

    Args:
        pictures: uint8 `(T, H, W, 3)`.
        path: the ending chooses the format.
        frames_per_second: how fast they are shown.

    Raises:
        ValueError: the ending is neither.
        ImportError: an MP4 is asked for, and PyAV is missing.
    """
    if path.suffix.lower() not in FORMATS:
        raise ValueError(f"{path}: an animation ends in {' or '.join(FORMATS)}.")
    enlarged = [_enlarge(picture) for picture in pictures]
    with written_whole(path) as file:
        if path.suffix.lower() == ".gif":
            first, *others = [Image.fromarray(picture) for picture in enlarged]
            duration = round(1000 / frames_per_second)
            first.save(file, format="GIF", save_all=True, append_images=others, duration=duration, loop=0)
        else:
            _encode(enlarged, file, frames_per_second)


def _enlarge(picture: np.ndarray) -> np.ndarray:
    """By a whole factor, so that pixels stay pixels; sides are even, which H.264 needs."""
    factor = max(1, -(-SHORTEST_SIDE // min(picture.shape[:2])))
    enlarged = picture.repeat(factor, axis=0).repeat(factor, axis=1)
    height, width = (side - side % 2 for side in enlarged.shape[:2])
    return enlarged[:height, :width]


def _encode(pictures: list[np.ndarray], path: Path, frames_per_second: float) -> None:
    try:
        import av
    except ImportError as error:
        raise ImportError("MP4 files need PyAV: pip install 'vita-clip-hf[demo]'; a .gif needs nothing.") from error
    from fractions import Fraction

    with av.open(str(path), "w", format="mp4") as container:
        stream = container.add_stream("libx264", rate=Fraction(frames_per_second).limit_denominator(1000))
        stream.height, stream.width = pictures[0].shape[:2]
        stream.pix_fmt = "yuv420p"
        for picture in pictures:
            container.mux(stream.encode(av.VideoFrame.from_ndarray(picture, format="rgb24")))
        container.mux(stream.encode(None))
