"""The sets of a run: rows of videos, how clips are taken from them, and the clips."""

import logging
from pathlib import Path
from typing import Any

from accelerate.utils import broadcast_object_list
from datasets import Dataset
from transformers import BaseVideoProcessor
from transformers.trainer_utils import IntervalStrategy, SaveStrategy

from ..data import StreamedVideoClips, VideoClips, VideoViews, build_clip_augmentation, load_videos
from ..data.sampling import TrainingSampling, resolve_sampling
from ..data.splits import draw_shots
from ..modeling.video_processing_vita_clip import VitaClipVideoProcessor
from .arguments import VitaClipTrainingArguments
from .clip_lengths import fit_stride, warn_of_short_videos
from .options import DataOptions
from .zero_shot_source import ZeroShotSource

logger = logging.getLogger(__name__)


def load_training(data: DataOptions, seed: int) -> Any:
    """
    The videos to train on: all, or `data.shots` of each class, drawn from `data.shots_seed` or else from `seed`.

    Raises:
        ValueError: a class has fewer videos than are to be drawn.
    """
    rows = load_videos(data.train, split=data.train_split, streaming=data.streaming, **_listing(data))
    if data.shots is None:
        return rows
    return draw_shots(rows, data.shots, seed if data.shots_seed is None else data.shots_seed)


def check_classes(rows: Any, source: str) -> None:
    """
    A warning tells of classes without videos.

    Raises:
        ValueError: there is one class alone, so that nothing can be learned.
    """
    names = rows.features["label"].names
    if len(names) < 2:
        raise ValueError(
            f"{source} has one class, {names[0]!r}, and there is nothing to tell it from: expected several, such as a "
            "folder of videos for each."
        )
    if isinstance(rows, Dataset) and (absent := sorted(set(range(len(names))) - set(rows["label"]))):
        examples = ", ".join(repr(names[label]) for label in absent[:3]) + (", ..." if len(absent) > 3 else "")
        logger.warning(f"{source}: {len(absent)} of {len(names)} classes have no video to train on: {examples}.")


def load_validation(data: DataOptions, names: list[str]) -> Dataset | None:
    """The validation videos; `None` if there are none."""
    if not data.validation:
        return None
    # A list may have a file of its classes beside it. A folder may lack a class, and takes the classes of --train.
    has_own = Path(data.validation).with_suffix(".classes.txt").is_file()
    listing = {**_listing(data), "class_names": data.class_names or (None if has_own else names)}
    rows = load_videos(data.validation, split=data.validation_split, **listing)
    found = rows.features["label"].names
    if found != names:
        other = next(
            (pair for pair in zip(names, found, strict=False) if pair[0] != pair[1]), (len(names), len(found))
        )
        raise ValueError(
            f"{data.validation} has other classes than {data.train}: {other[1]!r} where {other[0]!r} was expected."
        )
    return rows


def load_zero_shot(data: DataOptions) -> list[tuple[ZeroShotSource, Dataset]]:
    """The sets of `eval_zero_shot`, each with classes of its own."""
    return [
        (
            source,
            load_videos(
                source.source, format=source.format, split=source.split, root=source.root, class_names=source.classes
            ),
        )
        for source in data.zero_shot_sources()
    ]


def fit_to_stream(rows: Any, args: VitaClipTrainingArguments) -> None:
    """
    A stream has no length, and so no epochs: evaluations are every tenth of the steps.

    Raises:
        ValueError: the length of the training is given in epochs.
    """
    if isinstance(rows, Dataset):
        return
    if args.max_steps <= 0:
        raise ValueError(
            f"num_train_epochs is {args.num_train_epochs:g}, but a stream has no length, and so no epochs: give "
            "--max_steps."
        )
    if args.save_strategy == SaveStrategy.EPOCH:
        raise ValueError("save_strategy is 'epoch', but a stream has no epochs: give 'steps' and --save_steps.")
    if args.eval_strategy == IntervalStrategy.EPOCH:
        args.eval_strategy, args.eval_steps = IntervalStrategy.STEPS, max(1, args.max_steps // 10)


def choose_stride(rows: Any, data: DataOptions, args: VitaClipTrainingArguments, resume: str | None) -> int:
    """
    The stride between frames. One that is to be fitted is that of the checkpoint, or else found from a few videos, by
    the first process for all. A warning says how many videos are too short.
    """
    stride = data.stride()
    if stride is None and resume is not None:
        stride = VitaClipVideoProcessor.from_pretrained(resume).frame_stride
    elif args.process_index == 0:
        if stride is None:
            stride = fit_stride(rows, data.num_frames, args.seed)
            logger.warning(f"sampling_stride is fitted to the videos: {data.num_frames} frames, {stride} apart.")
        warn_of_short_videos(rows, TrainingSampling(data.sampling, data.num_frames, stride), args.seed)
    found = [stride]
    if args.world_size > 1:
        broadcast_object_list(found)
    if found[0] is None:
        raise ValueError("sampling_stride is 'auto', and the first process found none.")
    return found[0]


def set_sampling(video_processor: VitaClipVideoProcessor, data: DataOptions, stride: int) -> None:
    """Sets how the processor takes clips from a video: as in evaluation, and so wherever the adapter is used."""
    video_processor.num_frames = data.num_frames
    video_processor.sampling, _ = resolve_sampling(data.sampling)
    video_processor.frame_stride = stride
    video_processor.num_temporal_views, video_processor.num_spatial_views = data.temporal_views, data.spatial_views


def build_training_clips(
    rows: Any, video_processor: BaseVideoProcessor, data: DataOptions, args: VitaClipTrainingArguments
) -> VideoClips | StreamedVideoClips:
    """Augmented clips of the rows. Of a stream each process has its share."""
    augmentation = None
    if data.augment:
        augmentation = build_clip_augmentation(
            video_processor.crop_size["height"],
            rows.features["label"].names,
            rand_augment=data.rand_augment,
            scale=(data.crop_scale_min, 1.0),
            horizontal_flip=data.horizontal_flip,
            erasing_probability=data.erasing_probability,
        )
    settings = {
        "sampling": data.sampling,
        "num_frames": data.num_frames,
        "sampling_stride": video_processor.frame_stride,
        "augmentation": augmentation,
        "on_bad_video": data.on_bad_video,
        "seed": args.seed,
    }
    if isinstance(rows, Dataset):
        return VideoClips(rows, video_processor, **settings)
    shuffled = rows.shuffle(seed=args.seed, buffer_size=data.shuffle_buffer)
    shares = {"rank": args.process_index, "world_size": args.world_size}
    # Endless, so that processes with unequal shares need not end together: `max_steps` ends the training.
    return StreamedVideoClips(shuffled, video_processor, **settings, **shares, endless=True)


def build_validation_views(
    rows: Dataset | None, processor: BaseVideoProcessor, data: DataOptions
) -> VideoViews | None:
    """Views of the validation videos, as the processor takes them."""
    return None if rows is None else VideoViews(rows, processor, on_bad_video=data.on_bad_video)


def build_zero_shot_views(
    sets: list[tuple[ZeroShotSource, Dataset]], processor: BaseVideoProcessor, data: DataOptions
) -> dict[str, VideoViews]:
    """Views of the zero-shot sets by name, sampled as the processor does unless a set says otherwise."""
    return {
        source.name: VideoViews(rows, processor, on_bad_video=data.on_bad_video, **_sampling_of(source))
        for source, rows in sets
    }


def _sampling_of(source: ZeroShotSource) -> dict[str, Any]:
    """What a zero-shot set takes otherwise than the training."""
    sampling: dict[str, Any] = {} if source.sampling is None else {"sampling": resolve_sampling(source.sampling)[0]}
    return sampling if source.sampling_stride is None else {**sampling, "frame_stride": source.sampling_stride}


def _listing(data: DataOptions) -> dict[str, Any]:
    return {"format": data.format, "root": data.root, "class_names": data.class_names}
