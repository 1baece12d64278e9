"""Errors of torch that a person can mend, in words."""

import re
from collections.abc import Iterator
from contextlib import contextmanager

import torch
from transformers import TrainingArguments

from ..modeling.video_reading_vita_clip import VideoReadError


class WorkerLostError(OSError):
    """A process that reads videos was killed."""


@contextmanager
def clear_errors(num_workers: int = 0) -> Iterator[None]:
    """
    May stand inside itself: torch tells of a killed worker by a signal, also while its first error is being handled.

    Args:
        num_workers: processes that read videos.

    Raises:
        WorkerLostError: a worker of a DataLoader was killed.
        OSError: the memory of the device is full.
        VideoReadError, ValueError: as a worker raised it, without the worker's traceback.
    """
    try:
        yield
    except WorkerLostError:
        raise
    except VideoReadError as error:
        raise VideoReadError(_without_traceback(error)) from error
    except torch.OutOfMemoryError as error:
        raise OSError(
            f"The device's memory is full: {str(error).splitlines()[0]} Give a smaller --per_device_train_batch_size "
            "with more --gradient_accumulation_steps, or --bf16 --base_dtype bfloat16, or --activation_checkpointing."
        ) from error
    except (RuntimeError, OSError, EOFError) as error:
        if not _is_of_a_lost_worker(error, num_workers):
            raise
        reason = (str(error).splitlines() or [type(error).__name__])[0]
        raise WorkerLostError(
            f"A process that reads videos was ended from outside ({reason}). Usually memory ran out: give fewer "
            "--dataloader_num_workers or a smaller batch, or more shared memory (--shm-size of a container). With "
            "checkpoints, '--resume_from_checkpoint auto' goes on from the last."
        ) from error


def check_loss(loss: torch.Tensor, step: int, args: TrainingArguments) -> None:
    """
    Args:
        loss: of a batch of step `step`.

    Raises:
        ValueError: it is not finite.
    """
    if not loss.isfinite().all():
        raise ValueError(
            f"The loss of step {step} is {loss.float().mean().item()}: the training has diverged. Give a smaller "
            f"--learning_rate than {args.learning_rate:g}, more --warmup_steps than {args.warmup_steps:g}, or a "
            f"--max_grad_norm below {args.max_grad_norm:g} (0 is no limit). A checkpoint of the last steps before "
            "may be damaged too."
        )


def _is_of_a_lost_worker(error: Exception, num_workers: int) -> bool:
    """torch says so itself, or the connection over which a batch was to come is broken."""
    if "DataLoader worker (pid" in str(error):
        return True
    is_broken = isinstance(error, (ConnectionError, EOFError))
    is_broken = is_broken or (isinstance(error, FileNotFoundError) and error.filename is None)  # of a socket
    return num_workers > 0 and is_broken


def _without_traceback(error: Exception) -> str:
    """A DataLoader puts the traceback of its worker before the message; the message is what stands last."""
    text = str(error)
    if not text.startswith("Caught "):
        return text
    found = list(re.finditer(r"^[\w.]*\w+Error: ", text, re.MULTILINE))
    return text[found[-1].end() :].strip() if found else text
