"""Tells the training clips which epoch it is."""

from typing import Any

from transformers import TrainerCallback, TrainerControl, TrainerState, TrainingArguments


class DataEpoch(TrainerCallback):
    """
    Calls `set_epoch` of a data set that has it, before each epoch's first batch is read.

    accelerate's data loader does so too, unless it splits batches over several processes.
    """

    def __init__(self, dataset: Any):
        self._dataset = dataset

    def on_epoch_begin(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **kwargs: Any
    ) -> None:
        # In a run that is resumed within an epoch, `state.epoch` has a fraction. It is a sum of fractions, which may
        # fall short of a whole number by a rounding error.
        self._dataset.set_epoch(int((state.epoch or 0) + 1e-6))
