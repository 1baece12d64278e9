"""A running app with two adapters on the tiny CLIP, videos of Motion Shapes, and a headless Chromium."""

import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from app_in_browser import LABELS, put, serving, visit

TINY_CLIP = "package://vita_clip_hf/demo/tiny_clip"


@pytest.fixture(scope="session")
def adapters(tmp_path_factory) -> dict[str, Path]:
    """Folders by name. Their prompts are untrained: what they say is compared with `vita-clip predict`."""
    import torch

    from vita_clip_hf import VitaClipModel, VitaClipProcessor

    folder = tmp_path_factory.mktemp("models")
    for name, labels in LABELS.items():
        torch.manual_seed(len(labels[0]))
        model = VitaClipModel.from_pretrained(TINY_CLIP, id2label=dict(enumerate(labels)), num_frames=8)
        model.save_pretrained(folder / name)
        processor = VitaClipProcessor.from_pretrained(TINY_CLIP)
        processor.video_processor.num_frames = 8
        processor.save_pretrained(folder / name)
    return {name: folder / name for name in LABELS}


@pytest.fixture(scope="session")
def videos(tmp_path_factory) -> dict[str, Path]:
    """`long`: eight seconds of four motions; `short`: two seconds; `text`: no video, by the name of one."""
    import numpy as np

    from vita_clip_hf.demo.motion_shapes import TRAIN_COLORS, TRAIN_SHAPES, draw_spec, encode, render

    folder = tmp_path_factory.mktemp("videos")
    rng = np.random.default_rng(5)
    motions = ("moving left", "growing", "moving right", "shrinking")
    clips = [render(draw_spec(rng, motion, TRAIN_SHAPES, TRAIN_COLORS), 16, 256) for motion in motions]
    encode(np.concatenate(clips), folder / "long.mp4")
    encode(clips[1], folder / "short.mp4")
    (folder / "text.mp4").write_text("this is a letter, and no video")
    return {path.stem: path for path in folder.iterdir()}


@pytest.fixture(scope="session")
def app(adapters, videos, tmp_path_factory) -> Iterator[str]:
    """`vita-clip app` with both adapters, as a person starts it."""
    command = [sys.executable, "-m", "vita_clip_hf.cli", "app", "--model", *map(str, adapters.values())]
    with serving([*command, "--examples", str(videos["short"])], tmp_path_factory.mktemp("home")) as address:
        yield address


@pytest.fixture
def page(app, browser):
    """The app, just opened, on a desk."""
    with visit(browser, app) as opened:
        yield opened


@pytest.fixture(scope="session")
def short_page(app, browser, videos):
    """A page with the answer to the short video: each test leaves other labels and adapters on it."""
    with visit(browser, app) as opened:
        put(opened, videos["short"])
        yield opened


@pytest.fixture(scope="session")
def long_page(app, browser, videos):
    """A page with the answer to the long video, whose timeline is gone through."""
    with visit(browser, app) as opened:
        put(opened, videos["long"])
        yield opened
