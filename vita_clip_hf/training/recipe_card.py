"""The training in the card of a published adapter."""

from typing import Any

import torch
from transformers import TrainerState

from ..hub import CardDetails
from .arguments import VitaClipTrainingArguments


def describe_training(
    args: VitaClipTrainingArguments,
    state: TrainerState,
    details: dict[str, Any],
    base_dtype: torch.dtype = torch.float32,
) -> CardDetails:
    """
    The card's details. If `details` has no `training`, it is the recipe and the last evaluation.

    Args:
        base_dtype: of the frozen CLIP.
    """
    if "training" not in details:
        details = {**details, "training": {**_recipe(args, state, base_dtype), **_last_evaluation(state)}}
    return CardDetails(**details)


def _recipe(args: VitaClipTrainingArguments, state: TrainerState, base_dtype: torch.dtype) -> dict[str, Any]:
    precision = "bfloat16" if args.bf16 else "float16" if args.fp16 else "float32"
    if base_dtype != torch.float32:
        precision += f", base in {str(base_dtype).removeprefix('torch.')}"
    return {
        "steps": state.global_step,
        "clips in a step": args.train_batch_size * args.gradient_accumulation_steps * args.world_size,
        "learning rate": args.learning_rate,
        "schedule": str(getattr(args.lr_scheduler_type, "value", args.lr_scheduler_type)),
        "weight decay": args.weight_decay,
        "precision": precision,
        "seed": args.seed,
    }


def _last_evaluation(state: TrainerState) -> dict[str, str]:
    evaluations = [entry for entry in state.log_history if "eval_loss" in entry]
    speed = ("_runtime", "_per_second")
    last = {name: value for name, value in (evaluations or [{}])[-1].items() if not name.endswith(speed)}
    return {
        f"evaluation: {name.removeprefix('eval_')}": f"{value:.4g}"
        for name, value in last.items()
        if name.startswith("eval_")
    }
