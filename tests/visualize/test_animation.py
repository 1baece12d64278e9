"""Pictures that move."""

import numpy as np
import pytest
from PIL import Image

from vita_clip_hf.visualize.animation import write_animation


def pictures(num_frames=3):
    return np.stack([np.full((48, 64, 3), 60 * number, dtype=np.uint8) for number in range(num_frames)])


def test_a_gif_has_every_frame_enlarged_and_loops(tmp_path):
    write_animation(pictures(), tmp_path / "clip.gif")
    with Image.open(tmp_path / "clip.gif") as image:
        assert (image.n_frames, image.size) == (3, (384, 288))
    assert [file.name for file in tmp_path.iterdir()] == ["clip.gif"]


def test_an_mp4_plays_every_frame(tmp_path):
    av = pytest.importorskip("av")
    write_animation(pictures(), tmp_path / "clip.mp4")
    with av.open(str(tmp_path / "clip.mp4")) as container:
        shown = [frame.to_ndarray(format="rgb24").mean() for frame in container.decode(video=0)]
    assert np.allclose(shown, [0, 60, 120], atol=3)


def test_other_endings_are_refused(tmp_path):
    with pytest.raises(ValueError, match=r"\.gif or \.mp4"):
        write_animation(pictures(), tmp_path / "clip.webm")
