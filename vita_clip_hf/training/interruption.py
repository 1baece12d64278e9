"""Ctrl-C and SIGTERM: the step is finished and a checkpoint saved before the training ends."""

import os
import signal
import threading
import time
from collections.abc import Iterable, Iterator
from types import FrameType
from typing import Any

from transformers import Trainer, TrainerCallback, TrainerControl, TrainerState, TrainingArguments

SIGNALS = (signal.SIGINT, signal.SIGTERM)
# A launcher passes a Ctrl-C on to processes that have had it from the terminal: not a second one of the user.
SECONDS_TO_REPEAT = 1.0


class TrainingInterruptedError(Exception):
    """
    A training was ended by a signal, and has saved a checkpoint.

    Args:
        signal_number: of the signal.
        checkpoint: the folder that it can be resumed from.
    """

    def __init__(self, signal_number: int, checkpoint: str):
        self.signal_number, self.checkpoint = signal_number, checkpoint
        super().__init__(f"Training was ended by {signal.Signals(signal_number).name}; {checkpoint} is saved.")


class EvaluationCutError(Exception):
    """An evaluation in the course of a training ends early, because the training does."""


class Interruption(TrainerCallback):
    """
    While a training runs, a first SIGINT or SIGTERM ends it after the step, with a checkpoint; a second one of a kind
    ends the process at once. Of several processes one with the signal is enough: all end after the same step.

    Args:
        trainer: the training's; the callback must be added to it.
    """

    def __init__(self, trainer: Trainer):
        self._trainer = trainer
        self._former: dict[int, Any] = {}
        self._received_at = 0.0
        self.received: int | None = None  # in this process
        self.is_ending = False  # in all processes

    def on_train_begin(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **kwargs: Any
    ) -> None:
        self.received, self.is_ending = None, False
        if threading.current_thread() is threading.main_thread():  # no other may set handlers
            self._former = {number: signal.signal(number, self._receive) for number in SIGNALS}

    def _receive(self, number: int, frame: FrameType | None) -> None:
        now = time.monotonic()
        if self.received is None:
            self.received, self._received_at = number, now
            name = "Ctrl-C" if number == signal.SIGINT else signal.Signals(number).name
            if self._trainer.is_world_process_zero():
                # Not by print or logging, in the midst of which the signal may have come.
                message = f"\n{name}: the step is finished and a checkpoint saved. Once more ends at once.\n"
                os.write(2, message.encode())
        elif now - self._received_at >= SECONDS_TO_REPEAT:
            self.restore()
            signal.signal(number, signal.SIG_DFL)
            signal.raise_signal(number)

    def restore(self) -> None:
        """Puts the former handlers back."""
        for number, handler in self._former.items():
            signal.signal(number, signal.SIG_DFL if handler is None else handler)
        self._former = {}

    def agree(self) -> bool:
        """Whether any process has had a signal. Every process must call it."""
        if self.received is not None:
            self._trainer.accelerator.set_trigger()
        self.is_ending = self.is_ending or self._trainer.accelerator.check_trigger()
        return self.is_ending

    def on_step_end(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **kwargs: Any
    ) -> None:
        if self.agree():
            control.should_save = control.should_training_stop = True
            control.should_evaluate = False

    def on_epoch_end(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **kwargs: Any
    ) -> None:
        if self.is_ending:  # the checkpoint is saved already
            control.should_save = control.should_evaluate = False

    def watch(self, batches: Iterable[Any]) -> "WatchedBatches":
        """The batches of an evaluation in a training, which ends early with the training."""
        return WatchedBatches(batches, self)

    @property
    def signal_number(self) -> int:
        """Of the signal; SIGTERM if it was another process that had it."""
        return signal.SIGTERM if self.received is None else self.received


class WatchedBatches:
    """
    Batches that end early.

    Raises:
        EvaluationCutError: from an iterator, in all processes before the same batch, after a signal.
    """

    def __init__(self, batches: Any, interruption: Interruption):
        self._batches, self._interruption = batches, interruption

    def __len__(self) -> int:
        return len(self._batches)

    def __iter__(self) -> Iterator[Any]:
        for batch in self._batches:
            if self._interruption.agree():
                raise EvaluationCutError
            yield batch
