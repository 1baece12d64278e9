"""Motion Shapes with broken files among them, for tests of what is done about those."""

import wave
from pathlib import Path

from datasets import Dataset

from vita_clip_hf.data import load_videos
from vita_clip_hf.demo.motion_shapes import MOTIONS, write_split

# Of 80 files 4, one of each kind: 5 %.
NUM_CLIPS = 80
TRUNCATED, EMPTY, SOUND_ONLY, WRONG_EXTENSION = 3, 20, 41, 77
REASONS = {
    TRUNCATED: "incomplete MP4/MOV file",
    EMPTY: "is empty (0 bytes)",
    SOUND_ONLY: "has no video stream (sound only",
    WRONG_EXTENSION: "is not a video",
}


def write_motion_shapes(folder: Path, num_clips: int = NUM_CLIPS) -> Path:
    """The list of clips of 12 frames."""
    return write_split(folder, "train", num_clips, 0, MOTIONS[:4], num_frames=12, size=48, progress=False)


def break_videos(annotations: Path) -> Dataset:
    """Breaks four files; returns the data set that they are part of."""
    dataset = load_videos(annotations)
    paths = [Path(path) for path in dataset["video"]]
    content = paths[TRUNCATED].read_bytes()
    paths[TRUNCATED].write_bytes(content[: len(content) * 2 // 3])
    paths[EMPTY].write_bytes(b"")
    write_sound(paths[SOUND_ONLY])
    paths[WRONG_EXTENSION].write_text("<html><body>404 Not Found</body></html>\n" * 40)
    return dataset


def write_sound(path: Path) -> None:
    """A tenth of a second of silence."""
    with wave.open(str(path), "wb") as file:
        file.setnchannels(1)
        file.setsampwidth(2)
        file.setframerate(8000)
        file.writeframes(bytes(1600))
