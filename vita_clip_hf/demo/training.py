"""The demo's training: one call of the Trainer that users call."""

from pathlib import Path

import torch
from transformers import EvalPrediction, set_seed

from ..data import DecodedClips
from ..evaluation import classification_figures
from ..modeling.modeling_vita_clip import VitaClipForVideoClassification
from ..modeling.processing_vita_clip import VitaClipProcessor
from ..training import VitaClipTrainer, VitaClipTrainingArguments
from .recipe import PROMPTS, TINY_CLIP, Recipe, fast_bfloat16

NUM_EVALUATIONS = 8
# For sequences this short, the backward pass of torch's fused attention is slower on a CPU.
ATTENTION = "eager"


def build_model(recipe: Recipe, labels: list[str]) -> VitaClipForVideoClassification:
    """The tiny CLIP with new prompts."""
    set_seed(recipe.seed)
    return VitaClipForVideoClassification.from_pretrained(
        TINY_CLIP,
        id2label=dict(enumerate(labels)),
        num_frames=recipe.num_frames,
        attn_implementation=ATTENTION,
        **{**PROMPTS, **recipe.prompts},
    )


def train_prompts(
    model: VitaClipForVideoClassification,
    recipe: Recipe,
    train: DecodedClips,
    validation: DecodedClips | None,
    processor: VitaClipProcessor,
    output: Path,
    progress: bool = True,
    bf16: bool | None = None,
) -> list[dict[str, float]]:
    """
    Trains the prompts of `model` in place.

    Args:
        validation: clips to evaluate on `NUM_EVALUATIONS` times during the training; `None` for no evaluation.
        output: the Trainer's folder.
        bf16: train under bfloat16 autocast; by default where that is faster.

    Returns:
        The Trainer's log: loss, learning rate and accuracies by step.
    """
    every = max(1, recipe.steps // NUM_EVALUATIONS)
    arguments = VitaClipTrainingArguments(
        output_dir=str(output),
        max_steps=recipe.steps,
        per_device_train_batch_size=recipe.batch_size,
        per_device_eval_batch_size=recipe.batch_size,
        learning_rate=recipe.learning_rate,
        weight_decay=recipe.weight_decay,
        warmup_steps=min(50, recipe.steps // 10),
        bf16=fast_bfloat16() if bf16 is None else bf16,
        use_cpu=not torch.cuda.is_available(),
        eval_strategy="no" if validation is None else "steps",
        eval_steps=every,
        logging_steps=max(1, recipe.steps // 40),
        save_strategy="no",
        report_to="none",
        disable_tqdm=not progress,
        dataloader_num_workers=0,  # the clips are in memory
        seed=recipe.seed,
    )
    trainer = VitaClipTrainer(
        model=model,
        args=arguments,
        train_dataset=train,
        eval_dataset=validation,
        processing_class=processor,
        compute_metrics=_figures,
    )
    trainer.train()
    return trainer.state.log_history


def _figures(prediction: EvalPrediction) -> dict[str, float]:
    logits, labels = torch.as_tensor(prediction.predictions), torch.as_tensor(prediction.label_ids)
    return classification_figures(logits, labels)
