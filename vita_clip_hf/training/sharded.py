"""Checkpoints of models whose weights are spread over processes (FSDP): still one small adapter file."""

import os
from typing import Any

import torch
from accelerate.utils import save_fsdp_optimizer
from torch import nn
from torch.distributed.checkpoint.state_dict import StateDictOptions, get_model_state_dict, set_model_state_dict

from ..modeling.adapter_file_vita_clip import read_adapter


def gather_state(model: nn.Module) -> dict[str, Any]:
    """All tensors, whole and on the CPU of the first process; empty on the others, which must call it too."""
    return get_model_state_dict(model, options=StateDictOptions(full_state_dict=True, cpu_offload=True))


def load_sharded_adapter(model: nn.Module, path: str | os.PathLike) -> None:
    """Gives each process its part of an adapter's tensors. Every process must call it, and sees the file."""
    tensors: dict[str, Any] = read_adapter(path)[0]
    set_model_state_dict(model, tensors, options=StateDictOptions(full_state_dict=True, strict=False))


def save_sharded_optimizer(trainer: Any, folder: str) -> None:
    """Optimizer and schedule of an FSDP run, in the layout from which the Trainer loads them."""
    accelerator = trainer.accelerator
    save_fsdp_optimizer(accelerator.state.fsdp_plugin, accelerator, trainer.optimizer, trainer.model, folder)
    if trainer.args.should_save:
        torch.save(trainer.lr_scheduler.state_dict(), os.path.join(folder, "scheduler.pt"))
