"""From video files: the rate at which clips are read, and whether the model or the input sets the pace."""

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from functools import partial
from itertools import cycle, islice
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import torch
from torch.utils.data import DataLoader

from vita_clip_hf import VitaClipVideoProcessor
from vita_clip_hf.data import VideoClips, collate_clips
from vita_clip_hf.data.normalization import PixelNormalization

from .contenders import build, specialise
from .measure import time_in_turns
from .sizes import SIZES, Settings

FILES, FRAMES, SIDE = 8, 64, 256  # of generated videos


@contextmanager
def video_files(videos: Sequence[Path]) -> Iterator[list[Path]]:
    """The files that were named, or generated H.264 files that are deleted afterwards."""
    if videos:
        yield list(videos)
        return
    from vita_clip_hf.demo.motion_shapes import write_split

    with TemporaryDirectory(prefix="vita_clip_benchmark_") as folder:
        write_split(folder, "videos", FILES, 0, num_frames=FRAMES, size=SIDE, progress=False)
        yield sorted(Path(folder, "videos").glob("*.mp4"))


def measure_files(
    videos: Sequence[Path], settings: Settings, clips: int, workers: Sequence[int], rounds: int
) -> list[dict[str, Any]]:
    """
    Times inference on clips in memory, reading alone, and inference from files.

    Args:
        videos: files, read as often as needed.
        settings: of the model; its batch size is the loader's.
        clips: read in each round.
        workers: numbers of reading processes to try.
        rounds: each takes everything once, in turns.

    Returns:
        Rows with `units` (the number of workers), `seconds` and `clips`.
    """
    side = SIZES[settings.size][1]
    sides = {"height": side, "width": side}
    processor = VitaClipVideoProcessor(num_frames=settings.frames, size={"shortest_edge": side}, crop_size=sides)
    listed = [{"video": str(path), "label": 0} for path in islice(cycle(videos), clips)]
    loaders = {
        count: DataLoader(
            VideoClips(listed, processor, sampling="uniform", num_frames=settings.frames),
            batch_size=settings.batch,
            num_workers=count,
            collate_fn=collate_clips,
            persistent_workers=count > 0,
            pin_memory=torch.device(settings.device).type == "cuda",
        )
        for count in workers
    }
    classify = _classifier(processor, settings)
    in_memory = [batch["pixel_values"] for batch in loaders[workers[0]]]

    def read(loader: DataLoader, use: Callable[[torch.Tensor], Any]) -> None:
        for batch in loader:
            use(batch["pixel_values"])

    rows: dict[str, dict[str, Any]] = {"alone": {"label": "model alone"}}
    calls: dict[str, Callable[[], Any]] = {"alone": lambda: [classify(batch) for batch in in_memory]}
    for count, loader in loaders.items():
        for label, use in (("input alone", len), ("from files", classify)):
            name = f"{label}, {count} workers"
            rows[name] = {"label": label, "units": f"{count} workers"}
            calls[name] = partial(read, loader, use)
    for name, seconds in time_in_turns(calls, rounds).items():
        rows[name] |= {"contender": "vita", "seconds": seconds, "clips": clips}
    return list(rows.values())


def _classifier(processor: VitaClipVideoProcessor, settings: Settings) -> Callable[[torch.Tensor], Any]:
    """From bytes to the class of each clip, its features of classes held."""
    model, dtype = build("vita", settings), getattr(torch, settings.dtype)
    model.model.eval().requires_grad_(False).to(device=settings.device, dtype=dtype)
    specialise("vita", model)
    model.encode_classes()
    normalize = PixelNormalization.of(processor)

    def classify(pixel_values: torch.Tensor) -> Any:
        with torch.no_grad():
            clips = normalize(pixel_values.to(settings.device, non_blocking=True), dtype)
            return model.model(clips).logits_per_video.argmax(dim=-1).tolist()

    return classify
