"""Errors of torch that a person can mend, in words."""

import re
from collections.abc import Iterator
from contextlib import contextmanager

import torch

from ..modeling.video_reading_vita_clip import VideoReadError


class WorkerLostError(OSError):
    """A process that reads videos was killed."""


@contextmanager
def clear_errors() -> Iterator[None]:
    """
    Raises:
        WorkerLostError: a worker of a DataLoader was killed.
        OSError: the memory of the device is full.
        VideoReadError, ValueError: as a worker raised it, without the worker's traceback.
    """
    try:
        yield
    except VideoReadError as error:
        raise VideoReadError(_without_traceback(error)) from error
    except torch.OutOfMemoryError as error:
        raise OSError(
            f"The device's memory is full: {str(error).splitlines()[0]} Give a smaller --per_device_train_batch_size "
            "with more --gradient_accumulation_steps, or --bf16 --base_dtype bfloat16, or --activation_checkpointing."
        ) from error
    except RuntimeError as error:
        if "DataLoader worker" not in str(error):
            raise
        raise WorkerLostError(
            f"A process that reads videos was ended from outside ({str(error).splitlines()[0]}). Usually memory ran "
            "out: give fewer --dataloader_num_workers or a smaller batch, or more shared memory (--shm-size of a "
            "container). With checkpoints, '--resume_from_checkpoint auto' goes on from the last."
        ) from error


def _without_traceback(error: Exception) -> str:
    """A DataLoader puts the traceback of its worker before the message; the message is what stands last."""
    text = str(error)
    if not text.startswith("Caught "):
        return text
    found = list(re.finditer(r"^[\w.]*\w+Error: ", text, re.MULTILINE))
    return text[found[-1].end() :].strip() if found else text
