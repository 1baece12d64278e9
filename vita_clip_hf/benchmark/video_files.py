"""From files: how fast clips are decoded and transformed, and whether the model or the input sets the pace."""

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from itertools import cycle, islice
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import torch
from torch.utils.data import DataLoader

from ..data.clips import collate_clips
from ..data.normalization import PixelNormalization
from ..data.video_clips import VideoClips
from ..modeling.video_processing_vita_clip import VitaClipVideoProcessor
from ..modeling.video_reading_vita_clip import VideoReader
from .comparison import as_mapping
from .contenders import build_contender
from .progress import Progress
from .settings import BenchmarkSettings
from .sizes import vita_config
from .tables import Table
from .timing import Timings, Work, time_in_turns
from .works import LEARNING_RATE, as_inference, without_gradient

GENERATED_FILES, GENERATED_FRAMES, GENERATED_SIDE = 8, 64, 256
DECODE_COLUMNS = ["step", "workers", "time", "clips_per_second", "frames_per_second"]
FILE_COLUMNS = ["step", "workers", "clips_per_second", "share_of_model", "limit"]
ENOUGH = 0.95  # of the model's own rate: the input is hidden behind the model


@contextmanager
def video_files(settings: BenchmarkSettings, progress: Progress) -> Iterator[list[Path]]:
    """
    The user's files, or generated ones that are gone afterwards.

    Raises:
        ImportError: none were given, and the package that writes them is missing.
    """
    if settings.videos:
        yield list(settings.videos)
        return
    try:
        import av  # noqa: F401 - the encoder behind write_split

        from ..demo.motion_shapes import write_split
    except ImportError as error:
        raise ImportError(
            "Generating videos needs the demo extra: pip install 'vita-clip-hf[demo]', or name files with --videos."
        ) from error
    side, frames = (64, 16) if settings.model == "tiny" else (GENERATED_SIDE, GENERATED_FRAMES)
    with TemporaryDirectory(prefix="vita_clip_benchmark_") as folder:
        progress.say(f"generating {GENERATED_FILES} videos of {frames} frames, {side} x {side}")
        write_split(
            folder, "videos", GENERATED_FILES, settings.seed, num_frames=frames, size=side, progress=not progress.quiet
        )
        yield sorted(Path(folder, "videos").glob("*.mp4"))


def open_loader(videos: Sequence[Path], settings: BenchmarkSettings, workers: int) -> DataLoader:
    """Batches of `pixel_values` uint8 `(B, T, 3, H, W)`, each file as often as needed: how training reads files."""
    rows = [{"video": str(path), "label": 0} for path in islice(cycle(videos), settings.clips_from_files)]
    return DataLoader(
        VideoClips(rows, file_processor(settings), sampling="uniform", num_frames=settings.frames),
        batch_size=settings.batch,
        num_workers=workers,
        collate_fn=collate_clips,
        persistent_workers=workers > 0,
        pin_memory=torch.device(settings.device).type == "cuda",
    )


def file_processor(settings: BenchmarkSettings) -> VitaClipVideoProcessor:
    """Frames as the model of the settings takes them."""
    side = _config(settings).vision_config.image_size
    return VitaClipVideoProcessor(
        num_frames=settings.frames, size={"shortest_edge": side}, crop_size={"height": side, "width": side}
    )


def _config(settings: BenchmarkSettings) -> Any:
    return vita_config(settings.model, settings.frames, settings.classes, settings.contexts, settings.seed)


def measure_decoding(settings: BenchmarkSettings, progress: Progress) -> Table:
    """Clips per second of each step from a file to pixels, in this process, and of the whole in workers."""
    processor = file_processor(settings)
    with video_files(settings, progress) as videos:
        chosen = list(islice(cycle(videos), settings.clips_from_files))
        works = _decoding_steps(chosen, processor)
        loaders = {workers: open_loader(videos, settings, workers) for workers in settings.workers}
        works += [Work(f"loader {workers}", _exhaust(loader)) for workers, loader in loaders.items()]
        with progress.rounds("decode", len(works) * settings.rounds) as advance:
            timings = time_in_turns(works, settings.rounds, settings.warmup, "cpu", advance)
        described = _describe_files(videos, bool(settings.videos))
    rows = [_decoding_row(work.name, timings, settings) for work in works]
    side = _config(settings).vision_config.image_size
    title = f"Decoding and transforming: {settings.frames} frames of a clip, {side} pixels"
    note = (
        f"{described} Steps in one process with {torch.get_num_threads()} threads; loader: the whole way to batches "
        f"of bytes, in that many worker processes. Medians of {settings.rounds} rounds in turns."
    )
    return Table(f"decode-{settings.model}-t{settings.frames}", title, note, DECODE_COLUMNS, rows)


def _decoding_steps(videos: Sequence[Path], processor: VitaClipVideoProcessor) -> list[Work]:
    count = int(processor.num_frames)

    def indices(reader: VideoReader) -> list[int]:
        return torch.linspace(0, reader.num_frames - 1, count).round().long().tolist()

    def read(path: Path) -> torch.Tensor:
        reader = VideoReader(str(path))
        return reader.read_frames(indices(reader))

    decoded = [read(path) for path in videos]
    as_bytes = {"do_rescale": False, "do_normalize": False, "return_tensors": "pt"}
    return [
        Work("open", lambda: _open_each(videos)),
        Work("open, decode", lambda: [read(path) for path in videos]),
        Work("resize, crop", lambda: [processor(frames, do_sample_frames=False, **as_bytes) for frames in decoded]),
        Work("file to bytes", lambda: [processor(str(path), **as_bytes) for path in videos]),
        Work("file to floats", lambda: [processor(str(path), return_tensors="pt") for path in videos]),
    ]


def _open_each(videos: Sequence[Path]) -> None:
    for path in videos:
        VideoReader(str(path))  # let go at once: open readers decode ahead, each in a thread of its own


def _exhaust(loader: DataLoader) -> Callable[[], None]:
    def run() -> None:
        for _ in loader:
            pass

    return run


def _decoding_row(name: str, timings: Timings, settings: BenchmarkSettings) -> dict[str, Any]:
    step, _, workers = name.partition("loader ")
    time = timings.time(name)
    assert time is not None  # decoding keeps one clip at a time
    rate = settings.clips_from_files / time.median
    return {
        "step": step or "loader",
        "workers": int(workers) if workers else None,
        "time": as_mapping(time),
        "clips_per_second": rate,
        "frames_per_second": rate * settings.frames,
    }


def _describe_files(videos: Sequence[Path], given: bool) -> str:
    first = VideoReader(str(videos[0]))
    origin = "given by the user" if given else "generated, H.264"
    return f"{len(videos)} files {origin}; the first has {first.num_frames} frames of {first.width} x {first.height}."


def measure_from_files(dtype_name: str, settings: BenchmarkSettings, progress: Progress) -> Table:
    """Clips per second of inference and training from files, beside the model alone and the input alone."""
    dtype = getattr(torch, dtype_name)
    rows: list[dict[str, Any]] = []
    with video_files(settings, progress) as videos:
        for task, make in (("inference", _inference), ("training", _training)):
            consume = make(settings, dtype)
            works = _pace_works(consume, videos, settings)
            with progress.rounds(f"files {task} {dtype_name}", len(works) * settings.rounds) as advance:
                timings = time_in_turns(works, settings.rounds, settings.warmup, settings.device, advance)
            rows += _pace_rows(task, timings, settings)
        described = _describe_files(videos, bool(settings.videos))
    title = f"From files: {settings.model}, {settings.batch} clips of {settings.frames} frames, {dtype_name}"
    note = (
        f"{described} {settings.clips_from_files} clips a round; 'model alone' repeats a batch in memory, 'input "
        f"alone' drops what it reads, the rest does both. Medians of {settings.rounds} rounds in turns."
    )
    key = f"files-{settings.model}-b{settings.batch}-t{settings.frames}-{dtype_name}"
    return Table(key, title, note, FILE_COLUMNS, rows)


def _inference(settings: BenchmarkSettings, dtype: torch.dtype) -> Callable[[torch.Tensor], Any]:
    contender = as_inference(build_contender("vita", settings), settings, dtype)
    normalize = PixelNormalization.of(file_processor(settings))

    def consume(pixels: torch.Tensor) -> Any:
        clips = normalize(pixels.to(settings.device, non_blocking=True), dtype)
        return without_gradient(contender.model, clips)().logits_per_video.argmax(-1).cpu()

    return consume


def _training(settings: BenchmarkSettings, dtype: torch.dtype) -> Callable[[torch.Tensor], Any]:
    contender = build_contender("vita", settings)
    model = contender.model.train().to(settings.device)
    normalize = PixelNormalization.of(file_processor(settings))
    learned = [parameter for parameter in model.parameters() if parameter.requires_grad]
    optimizer = torch.optim.AdamW(learned, lr=LEARNING_RATE, fused=True)
    device_type = torch.device(settings.device).type

    def consume(pixels: torch.Tensor) -> Any:
        clips = normalize(pixels.to(settings.device, non_blocking=True))
        with torch.autocast(device_type, dtype=torch.bfloat16, enabled=dtype != torch.float32):
            loss = contender.loss(clips, torch.zeros(len(clips), dtype=torch.long, device=clips.device))
        loss.backward()
        optimizer.step()
        optimizer.zero_grad(set_to_none=True)

    return consume


def _pace_works(
    consume: Callable[[torch.Tensor], Any], videos: Sequence[Path], settings: BenchmarkSettings
) -> list[Work]:
    loaders = {workers: open_loader(videos, settings, workers) for workers in settings.workers}
    batches = [batch["pixel_values"] for batch in loaders[settings.workers[0]]]

    def alone() -> None:
        for batch in batches:
            consume(batch)

    def together(loader: DataLoader) -> Callable[[], None]:
        def run() -> None:
            for batch in loader:
                consume(batch["pixel_values"])

        return run

    works = [Work("model alone", alone)]
    works += [Work(f"input alone {workers}", _exhaust(loader)) for workers, loader in loaders.items()]
    return works + [Work(f"from files {workers}", together(loader)) for workers, loader in loaders.items()]


def _pace_rows(task: str, timings: Timings, settings: BenchmarkSettings) -> list[dict[str, Any]]:
    rows = []
    for name in timings.seconds:
        time, share = timings.time(name), timings.ratio("model alone", name)
        words = name.rpartition(" ")
        step, workers = (words[0], int(words[2])) if words[2].isdigit() else (name, None)
        row: dict[str, Any] = {"step": f"{task}: {step}", "workers": workers}
        row["clips_per_second"] = settings.clips_from_files / time.median if time else None
        if step == "from files" and share is not None:
            row["share_of_model"] = share.median
            row["limit"] = limit_of(share.median)
        rows.append(row)
    rows += [{"step": f"{task}: {name}", "limit": reason} for name, reason in timings.failures.items()]
    return rows


def limit_of(share_of_model: float) -> str:
    """What sets the pace, from the rate with files as a share of the model's own."""
    return "the model" if share_of_model >= ENOUGH else "the input"
