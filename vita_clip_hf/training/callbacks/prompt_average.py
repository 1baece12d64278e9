"""A moving average of the prompts (EMA): smoother than the last step's, for evaluation and for the final adapter."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load_file, save_file
from torch import nn
from torch.optim.swa_utils import get_ema_multi_avg_fn
from transformers import TrainerCallback, TrainerControl, TrainerState, TrainingArguments

from ...modeling.adapter_file_vita_clip import written_whole

AVERAGE_FILE = "average.safetensors"


class PromptAverage(TrainerCallback):
    """
    a <- decay * a + (1 - decay) * θ after each optimizer step, for everything θ that is learned.

    Args:
        decay: between 0 and 1; 1 / (1 - decay) is the number of steps that are averaged over.
    """

    def __init__(self, decay: float):
        self.decay = decay
        self.average: dict[str, torch.Tensor] = {}

    def on_step_end(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, model: Any = None, **kwargs: Any
    ) -> None:
        learned = _learned(model)
        if not self.average:
            self.average = {name: weight.detach().clone() for name, weight in learned.items()}
            return
        averages = [self.average[name] for name in learned]
        get_ema_multi_avg_fn(self.decay)(averages, list(learned.values()), state.global_step)

    @contextmanager
    def in_place_of_weights(self, model: Any) -> Iterator[None]:
        """Puts the average on the model for a while. Before the first step there is none, and the weights stay."""
        if not self.average:
            yield
            return
        learned = _learned(model)
        kept = {name: weight.detach().clone() for name, weight in learned.items()}
        _write(learned, self.average)
        model.drop_class_features()  # held ones are of other weights
        try:
            yield
        finally:
            _write(learned, kept)
            model.drop_class_features()

    def save(self, folder: Path) -> None:
        if self.average:
            with written_whole(folder / AVERAGE_FILE) as path:
                save_file({name: tensor.cpu().contiguous() for name, tensor in self.average.items()}, path)

    def load(self, folder: Path, model: nn.Module) -> None:
        """
        Raises:
            ValueError: the checkpoint has no average, or one of other prompts.
        """
        path, learned = folder / AVERAGE_FILE, _learned(model)
        if not path.is_file():
            raise ValueError(
                f"{folder} has no {AVERAGE_FILE}: it was trained without ema_decay. Resume without it too."
            )
        stored = load_file(path)
        if stored.keys() != learned.keys():
            raise ValueError(f"{path} averages {sorted(stored)}; the model learns {sorted(learned)}.")
        self.average = {name: stored[name].to(weight.device) for name, weight in learned.items()}


def _learned(model: nn.Module) -> dict[str, nn.Parameter]:
    return {name: weight for name, weight in model.named_parameters() if weight.requires_grad}


@torch.no_grad()
def _write(learned: dict[str, nn.Parameter], values: dict[str, torch.Tensor]) -> None:
    for name, weight in learned.items():
        weight.copy_(values[name])
