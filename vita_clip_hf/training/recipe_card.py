"""What a published adapter's card says of its training."""

from typing import Any

from transformers import TrainerState

from ..hub import CardDetails
from .arguments import VitaClipTrainingArguments


def describe_training(args: VitaClipTrainingArguments, state: TrainerState, details: dict[str, Any]) -> CardDetails:
    """The card's details, with the recipe and the last evaluation as `training` where `details` has none."""
    if "training" not in details:
        details = {**details, "training": {**_recipe(args, state), **_last_evaluation(state)}}
    return CardDetails(**details)


def _recipe(args: VitaClipTrainingArguments, state: TrainerState) -> dict[str, Any]:
    return {
        "steps": state.global_step,
        "clips in a step": args.train_batch_size * args.gradient_accumulation_steps * args.world_size,
        "learning rate": args.learning_rate,
        "schedule": str(getattr(args.lr_scheduler_type, "value", args.lr_scheduler_type)),
        "weight decay": args.weight_decay,
        "precision": "bfloat16" if args.bf16 else "float16" if args.fp16 else "float32",
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
