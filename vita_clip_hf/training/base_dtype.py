"""A frozen base in another precision than the prompts, and the ways of training that allow it."""

from typing import Any

import torch
from accelerate import Accelerator
from accelerate.utils import DistributedType
from torch import nn
from transformers import TrainingArguments


def base_dtype_of(model: nn.Module) -> torch.dtype:
    """Of the frozen CLIP of a [`VitaClipModel`]."""
    weight: Any = model.visual_projection.weight
    return weight.dtype


def check_base_dtype(model: nn.Module, args: TrainingArguments, accelerator: Accelerator) -> None:
    """Raises `ValueError` if the base is in another precision than the prompts, and cannot be trained on so."""
    base, learned = base_dtype_of(model), torch.float32
    if base not in (torch.bfloat16, torch.float16):
        return
    if any(weight.dtype != learned for weight in model.parameters() if weight.requires_grad):
        return  # a model in one precision throughout
    if args.fp16:
        raise ValueError(f"With fp16 every use of a base in {base} would cast it: take bf16, or a float32 base.")
    if accelerator.distributed_type == DistributedType.DEEPSPEED:
        raise ValueError(f"DeepSpeed casts prompts and base alike: it cannot keep the base in {base}.")
    if accelerator.distributed_type == DistributedType.FSDP and not accelerator.is_fsdp2:
        raise ValueError(
            f"FSDP1 joins weights of one precision only, and the base is in {base} beside prompts in {learned}: "
            "take FSDP2 (fsdp_version: 2), or a float32 base."
        )
