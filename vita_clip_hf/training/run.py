"""From a list of videos to a trained model: the work of `examples/train.py` and `vita-clip train`."""

import logging
import os
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from pathlib import Path

from transformers import EarlyStoppingCallback, set_seed

from ..hub.upload import check_base_is_public
from ..modeling.cpu_vita_clip import use_cpu_kernels
from ..modeling.processing_vita_clip import VitaClipProcessor
from ..modeling.remote_code_vita_clip import locate_base
from ..modeling.video_reading_vita_clip import VideoReadError
from .arguments import VitaClipTrainingArguments
from .callbacks import ZeroShotSets
from .checkpoints import find_last_checkpoint, list_checkpoints
from .clear_errors import clear_errors
from .clip_sets import (
    build_training_clips,
    build_validation_views,
    build_zero_shot_views,
    check_classes,
    choose_stride,
    fit_to_stream,
    load_training,
    load_validation,
    load_zero_shot,
    set_sampling,
)
from .file_check import check_files
from .interruption import TrainingInterruptedError
from .methods import check_same_method, check_same_model, load_model_to_train, warn_of_learning_rate
from .options import AUTO, BaseOptions, DataOptions
from .run_folder import check_writable, sole_training, writing_results
from .served_sampling import warn_of_other_clips
from .settings_check import check_settings
from .trainer import VitaClipTrainer

logger = logging.getLogger(__name__)


def run_training(model: BaseOptions, data: DataOptions, args: VitaClipTrainingArguments) -> dict[str, float]:
    """
    Trains, saves the adapter (of `finetune` the whole CLIP) into `args.output_dir`, evaluates, and publishes it if
    `args.push_to_hub` is set. The saved processor takes frames and views as the evaluation did: what was saved gives
    the figures that are returned.

    Args:
        model, data, args: all settings; `args.resume_from_checkpoint` may be "auto": the newest whole checkpoint in
            the output folder if there is one, else from the start.

    Returns:
        The figures of training and of the last evaluation.

    Raises:
        OSError: a file is not there, cannot be read or cannot be written, or another training uses the folder.
        ValueError: settings or annotations do not fit together.
        ImportError: a package that `report_to` names is not installed.
        TrainingInterruptedError: Ctrl-C or SIGTERM ended the training; a checkpoint is saved.
    """
    check_processes(args)
    check_settings(data, args)
    check_writable(args.output_dir)
    with sole_training(args.output_dir) if args.process_index == 0 else nullcontext():
        trainer, zero_shot, resume = build_trainer(model, data, args)
        with clear_errors(args.dataloader_num_workers), _bad_videos_told(data.on_bad_video, args.output_dir):
            trained = trainer.train(resume_from_checkpoint=resume).metrics
            if trainer.interruption is not None and trainer.interruption.is_ending:
                folder = Path(args.output_dir) / f"checkpoint-{trainer.state.global_step}"
                raise TrainingInterruptedError(trainer.interruption.signal_number, str(folder))
            figures = _save_results(trainer, trained, zero_shot)
    if args.push_to_hub:
        trainer.push_to_hub(datasets=[data.train] if data.format == "hub" else [])
    return figures


@contextmanager
def _bad_videos_told(on_bad_video: str, output_dir: str) -> Iterator[None]:
    """Adds the remedy to the error of a video that cannot be read."""
    try:
        yield
    except VideoReadError as error:
        if on_bad_video != "raise":
            raise
        last = find_last_checkpoint(output_dir)
        raise VideoReadError(
            f"{error}. '--on_bad_video skip' goes on without it, and `vita-clip data check` finds all that cannot be "
            "read." + (f" '--resume_from_checkpoint auto' goes on from {last}." if last else "")
        ) from error


def build_trainer(
    model: BaseOptions, data: DataOptions, args: VitaClipTrainingArguments
) -> tuple[VitaClipTrainer, ZeroShotSets, str | None]:
    """The trainer with all that it needs, its zero-shot sets, and the checkpoint to go on from, if any."""
    resume = find_resume_point(args)
    if resume is not None:
        check_same_method(model, resume)
    train_rows = load_training(data, args.seed)
    check_classes(train_rows, data.train)
    names = train_rows.features["label"].names
    validation_rows, zero_shot_rows = load_validation(data, names), load_zero_shot(data)
    fit_to_stream(train_rows, args)
    sets = {data.train: train_rows, str(data.validation): validation_rows}
    sets |= {f"eval_zero_shot {source.name}": rows for source, rows in zero_shot_rows}
    check_files(sets, data.on_bad_video, args.max_bad_videos)
    processor = VitaClipProcessor.from_pretrained(locate_base(model.base))
    video_processor = processor.video_processor
    set_sampling(video_processor, data, choose_stride(train_rows, data, args, resume))
    if resume is not None:
        warn_of_other_clips(video_processor, resume)
    set_seed(args.seed)
    warn_of_learning_rate(model, args.learning_rate)
    trained = load_model_to_train(model, names, data.num_frames)
    if resume is not None:
        check_same_model(trained, resume)
    if args.push_to_hub and trained.config.base_model_name_or_path is not None:
        check_base_is_public(trained.config)
    if args.device.type == "cpu" and not args.torch_compile and model.attn_implementation is None:
        use_cpu_kernels(trained)
    trainer = VitaClipTrainer(
        model=trained,
        args=args,
        train_dataset=build_training_clips(train_rows, video_processor, data, args),
        eval_dataset=build_validation_views(validation_rows, video_processor, data),
        processing_class=processor,
    )
    trainer.end_on_signals()
    zero_shot_views = build_zero_shot_views(zero_shot_rows, video_processor, data)
    class_texts = {source.name: source.class_texts for source, _ in zero_shot_rows if source.class_texts is not None}
    zero_shot = ZeroShotSets(trainer, zero_shot_views, class_texts)
    trainer.add_callback(zero_shot)
    if args.early_stopping_patience:  # after the zero-shot sets, whose figures it may watch
        trainer.add_callback(EarlyStoppingCallback(args.early_stopping_patience))
    return trainer, zero_shot, resume


def _save_results(trainer: VitaClipTrainer, trained: dict[str, float], zero_shot: ZeroShotSets) -> dict[str, float]:
    """Model, processor and state first, then the figures of the last evaluation."""
    with writing_results(trainer.args.output_dir):
        trainer.save_model()
        trainer.save_state()
        trainer.save_metrics("train", trained)
    evaluated = last_evaluation(trainer)
    if not evaluated:
        evaluated = zero_shot.evaluate() if trainer.eval_dataset is None else trainer.evaluate()
    if evaluated:
        with writing_results(trainer.args.output_dir):
            trainer.save_metrics("eval", evaluated)
    return {**trained, **evaluated}


def last_evaluation(trainer: VitaClipTrainer) -> dict[str, float]:
    """The figures of the evaluation after the last step, if there was one and the weights are the same still."""
    if trainer.args.load_best_model_at_end:
        return {}
    last = [entry for entry in trainer.state.log_history if entry.get("step") == trainer.state.global_step]
    figures = {name: value for entry in last for name, value in entry.items() if name.startswith("eval_")}
    return figures if trainer.eval_dataset is not None and "eval_loss" in figures else {}


def check_processes(args: VitaClipTrainingArguments) -> None:
    """Raises `ValueError` if several processes were started and are not in one group."""
    started = int(os.environ.get("WORLD_SIZE", "1"))
    if started != args.world_size:
        raise ValueError(
            f"{started} processes were started, and this one sees {args.world_size}: each would train alone and "
            "overwrite the others. To train on CPUs beside a GPU, give --use_cpu."
        )


def find_resume_point(args: VitaClipTrainingArguments) -> str | None:
    """
    The checkpoint to go on from, if any.

    Raises:
        ValueError: the output folder has checkpoints, and `args.resume_from_checkpoint` is not given.
    """
    if args.resume_from_checkpoint in (AUTO, "True", "true", True):
        found = find_last_checkpoint(args.output_dir)
        logger.warning(f"Training goes on from {found}." if found else "There is no checkpoint yet; training starts.")
        return found
    if args.resume_from_checkpoint is None and list_checkpoints(args.output_dir):
        raise ValueError(
            f"{args.output_dir} has checkpoints of an earlier run. Give --resume_from_checkpoint auto to go on from "
            "them, or another --output_dir."
        )
    if args.resume_from_checkpoint is not None and not os.path.isdir(args.resume_from_checkpoint):
        raise FileNotFoundError(
            f"resume_from_checkpoint is {args.resume_from_checkpoint!r}, and there is no such folder; auto is the "
            "newest whole checkpoint in output_dir."
        )
    return args.resume_from_checkpoint
