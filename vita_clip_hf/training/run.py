"""From a list of videos to a trained adapter: the work of `examples/train.py` and `vita-clip train`."""

import logging
import os
from pathlib import Path
from typing import Any

import torch
from datasets import Dataset
from transformers import BaseVideoProcessor, EarlyStoppingCallback, set_seed

from ..data import StreamedVideoClips, VideoClips, VideoViews, build_clip_augmentation, load_videos
from ..data.sampling import resolve_sampling
from ..modeling.cpu_vita_clip import use_cpu_kernels
from ..modeling.modeling_vita_clip import VitaClipForVideoClassification
from ..modeling.processing_vita_clip import VitaClipProcessor
from ..modeling.remote_code_vita_clip import locate_base
from .arguments import VitaClipTrainingArguments
from .callbacks import ZeroShotSets
from .checkpoints import find_last_checkpoint, list_checkpoints
from .options import BaseOptions, DataOptions
from .trainer import VitaClipTrainer

logger = logging.getLogger(__name__)

AUTO = "auto"


def run_training(model: BaseOptions, data: DataOptions, args: VitaClipTrainingArguments) -> dict[str, float]:
    """
    Trains, saves the adapter into `args.output_dir`, evaluates, and publishes it if `args.push_to_hub` is set.

    Args:
        model, data, args: all settings; `args.resume_from_checkpoint` may be "auto": the newest whole checkpoint in
            the output folder if there is one, else from the start.

    Returns:
        The figures of training and of the last evaluation.

    Raises:
        OSError: a file is not there, cannot be read or cannot be written.
        ValueError: settings or annotations do not fit together.
    """
    check_processes(args)
    resume = find_resume_point(args)
    set_seed(args.seed)
    train_rows = load_videos(data.train, split=data.train_split, streaming=data.streaming, **_listing(data))
    names = train_rows.features["label"].names
    vita_clip = load_vita_clip(model, names, data.num_frames)
    if args.device.type == "cpu" and not args.torch_compile and model.attn_implementation is None:
        use_cpu_kernels(vita_clip)
    processor = VitaClipProcessor.from_pretrained(locate_base(model.base))
    video_processor = processor.video_processor
    video_processor.num_frames = data.num_frames
    trainer = VitaClipTrainer(
        model=vita_clip,
        args=args,
        train_dataset=build_training_clips(train_rows, video_processor, data, args),
        eval_dataset=build_validation(data, names, video_processor),
        processing_class=processor,
    )
    zero_shot = ZeroShotSets(trainer, build_zero_shot(data, video_processor))
    trainer.add_callback(zero_shot)
    if args.early_stopping_patience:  # after the zero-shot sets, whose figures it may watch
        trainer.add_callback(EarlyStoppingCallback(args.early_stopping_patience))
    figures = trainer.train(resume_from_checkpoint=resume).metrics
    trainer.save_model()
    trainer.save_state()
    trainer.save_metrics("train", figures)
    evaluated = trainer.evaluate() if data.validation else zero_shot.evaluate()
    if evaluated:
        trainer.save_metrics("eval", evaluated)
        figures = {**figures, **evaluated}
    if args.push_to_hub:
        trainer.push_to_hub(datasets=[data.train] if data.format == "hub" else [])
    return figures


def check_processes(args: VitaClipTrainingArguments) -> None:
    """Raises `ValueError` if several processes were started and are not in one group."""
    started = int(os.environ.get("WORLD_SIZE", "1"))
    if started != args.world_size:
        raise ValueError(
            f"{started} processes were started, and this one sees {args.world_size}: each would train alone and "
            "overwrite the others. On a machine without a GPU, give --use_cpu."
        )


def load_vita_clip(model: BaseOptions, names: list[str], num_frames: int) -> VitaClipForVideoClassification:
    """The model to train, for clips of these classes: its prompts in float32, its base in `model.base_dtype`."""
    vita_clip = VitaClipForVideoClassification.from_pretrained(
        model.base,
        id2label=dict(enumerate(names)),
        num_frames=num_frames,
        dtype=torch.float32,  # in any case: a lower precision loses small steps of a prompt
        **({"attn_implementation": model.attn_implementation} if model.attn_implementation else {}),
        **model.prompt_fields(),
    )
    vita_clip.cast_base(getattr(torch, model.base_dtype))
    return vita_clip


def find_resume_point(args: VitaClipTrainingArguments) -> str | None:
    """
    The checkpoint to go on from, if any.

    Raises:
        ValueError: the output folder has checkpoints, and `args.resume_from_checkpoint` is not given.
    """
    if args.resume_from_checkpoint == AUTO:
        found = find_last_checkpoint(args.output_dir)
        logger.warning(f"Training goes on from {found}." if found else "There is no checkpoint yet; training starts.")
        return found
    if args.resume_from_checkpoint is None and list_checkpoints(args.output_dir):
        raise ValueError(
            f"{args.output_dir} has checkpoints of an earlier run. Give --resume_from_checkpoint auto to go on from "
            "them, or another --output_dir."
        )
    return args.resume_from_checkpoint


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
        "sampling_stride": data.sampling_stride,
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


def build_validation(data: DataOptions, names: list[str], video_processor: BaseVideoProcessor) -> VideoViews | None:
    """All views of the validation videos; `None` if there are none."""
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
    return _views(rows, video_processor, data)


def build_zero_shot(data: DataOptions, video_processor: BaseVideoProcessor) -> dict[str, VideoViews]:
    """The sets of `eval_zero_shot`, with their class names."""
    sets = {}
    for name, source in data.zero_shot_sources().items():
        sets[name] = _views(load_videos(source), video_processor, data)
    return sets


def _views(rows: Any, video_processor: BaseVideoProcessor, data: DataOptions) -> VideoViews:
    return VideoViews(
        rows,
        video_processor,
        temporal_views=data.temporal_views,
        spatial_views=data.spatial_views,
        on_bad_video=data.on_bad_video,
        num_frames=data.num_frames,
        sampling=resolve_sampling(data.sampling)[0],
        frame_stride=data.sampling_stride,
    )


def _listing(data: DataOptions) -> dict[str, Any]:
    return {"format": data.format, "root": data.root, "class_names": data.class_names}
