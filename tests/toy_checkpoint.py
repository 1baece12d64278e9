"""Toy checkpoints on disk with all that belongs to them, a video to run them on, and a process without the package."""

import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import av
import numpy as np
from toy_vita_clip import IMAGE_SIZE, LABELS, NUM_FRAMES, randomise, save_toy_clip, toy_tokenizer
from vita_clip_hf.modeling.adapter_file_vita_clip import is_prompt

from vita_clip_hf import VitaClipModel, VitaClipProcessor, VitaClipVideoProcessor

# As if the package were not installed, although the test runs where it is.
WITHOUT_PACKAGE = "import sys; sys.modules['vita_clip_hf'] = None\n"
TIMEOUT = 600  # seconds, for a process that hangs; a busy machine may be very slow


def toy_processor() -> VitaClipProcessor:
    sides = {"height": IMAGE_SIZE, "width": IMAGE_SIZE}
    video_processor = VitaClipVideoProcessor(
        size={"shortest_edge": IMAGE_SIZE}, crop_size=sides, num_frames=NUM_FRAMES
    )
    return VitaClipProcessor(tokenizer=toy_tokenizer(), video_processor=video_processor)


def toy_adapter_on(base: Any, labels: list[str] | None = None, seed: int = 1, **fields: Any) -> VitaClipModel:
    """A model on a saved toy CLIP, whose prompts are random and large."""
    id2label = dict(enumerate(LABELS if labels is None else labels))
    model = VitaClipModel.from_pretrained(base, id2label=id2label, num_frames=NUM_FRAMES, **fields)
    base_weights = {name: tensor.clone() for name, tensor in model.state_dict().items() if not is_prompt(name)}
    randomise(model, seed)
    model.load_state_dict(base_weights, strict=False)
    return model.eval()


def save_toy_checkpoint(folder: Path, **fields: Any) -> Path:
    """An adapter with its processor in `folder / "adapter"`, its base beside it in `folder / "base"`."""
    base = save_toy_clip(folder / "base")
    toy_adapter_on(base, **fields).save_pretrained(folder / "adapter")
    toy_processor().save_pretrained(folder / "adapter")
    return folder / "adapter"


def write_rising_video(path: Path, num_frames: int = 50, fps: int = 25) -> Path:
    """H.264, 64 x 48 pixels, brighter from frame to frame."""
    with av.open(str(path), "w") as container:
        stream = container.add_stream("libx264", rate=fps)
        stream.width, stream.height, stream.pix_fmt = 64, 48, "yuv420p"
        for number in range(num_frames):
            picture = np.full((48, 64, 3), 5 * number % 256, dtype=np.uint8)
            picture[:, number : number + 8] = (200, 30, 60)
            container.mux(stream.encode(av.VideoFrame.from_ndarray(picture)))
        container.mux(stream.encode(None))
    return path


def run_without_package(code: str, *arguments: Any, home: Path) -> str:
    """What Python code prints in an offline process that has transformers but not this package."""
    home.mkdir(exist_ok=True)
    environment = {**os.environ, "HF_HUB_OFFLINE": "1", "HF_HOME": str(home), "OMP_NUM_THREADS": "1"}
    result = subprocess.run(
        [sys.executable, "-c", WITHOUT_PACKAGE + code, *map(str, arguments)],
        env=environment,
        cwd=home,
        capture_output=True,
        text=True,
        timeout=TIMEOUT,
    )
    assert result.returncode == 0, f"{result.stdout}\n{result.stderr}"
    return result.stdout
