"""Evaluation on sets whose classes have no learned contexts, beside the trainer's own set."""

import time
from collections.abc import Mapping
from typing import Any

import torch
from transformers import TrainerCallback, TrainerControl, TrainerState, TrainingArguments
from transformers.trainer_utils import speed_metrics

from ...evaluation.predict import evaluation_mode
from ...modeling.modeling_efficient_prompt import EfficientPromptModel
from ...models.loading import LOADERS


class ZeroShotSets(TrainerCallback):
    """
    Evaluates further sets whenever the trainer has evaluated its own, and puts their figures beside its:
    `eval_NAME_top_1` and so on.

    The names of the classes are embedded as in `vita_clip_hf.evaluation`. If the text side is frozen, this is done at
    construction, because FSDP and DeepSpeed take the text tower apart later; else anew at each evaluation.

    Args:
        trainer: a [`VitaClipTrainer`] with a [`VitaClipProcessor`]; add the callback to it by `add_callback`.
        datasets: by name, as the trainer's own, each with its class names in `class_names`.

    Raises:
        ValueError: the trainer has no tokenizer, a class name makes no sense, or FSDP or DeepSpeed takes apart a text
            side that is trained.
    """

    def __init__(self, trainer: Any, datasets: Mapping[str, Any]):
        self._trainer, self._datasets = trainer, dict(datasets)
        tokenizer = getattr(trainer.processing_class, "tokenizer", None)
        if tokenizer is None and datasets:
            raise ValueError("Zero-shot evaluation needs a tokenizer: give the trainer a VitaClipProcessor.")
        self._tokenizer = tokenizer
        self._are_texts_trained = _are_texts_trained(self._model())
        if datasets and self._are_texts_trained and (trainer.is_fsdp_enabled or trainer.is_deepspeed_enabled):
            raise ValueError(
                "This training changes the text features, which cannot be computed in its course under FSDP or "
                "DeepSpeed: leave eval_zero_shot out, and evaluate the saved model."
            )
        self._text_embeds = {name: self._embed(dataset) for name, dataset in self._datasets.items()}

    def _model(self) -> Any:
        return self._trainer.accelerator.unwrap_model(self._trainer.model, keep_torch_compile=False)

    def _embed(self, dataset: Any) -> torch.Tensor:
        model = self._model()
        wrapper, _ = LOADERS[model.config.model_type]
        with evaluation_mode(model):
            return wrapper(model, self._tokenizer).encode_labels(list(dataset.class_names))

    def evaluate(self, metric_key_prefix: str = "eval") -> dict[str, float]:
        """Evaluates all sets and logs the figures, which are called `{metric_key_prefix}_{name}_top_1` and so on."""
        figures: dict[str, float] = {}
        for name, dataset in self._datasets.items():
            figures |= self._evaluate(name, dataset, f"{metric_key_prefix}_{name}")
        return figures

    def _evaluate(self, name: str, dataset: Any, prefix: str) -> dict[str, float]:
        start = time.time()
        if self._are_texts_trained:
            with self._trainer.averaged():
                self._text_embeds[name] = self._embed(dataset)
        loader = self._trainer.get_eval_dataloader(dataset)
        output = self._trainer.evaluation_loop(
            loader, f"Evaluation of {name}", metric_key_prefix=prefix, text_embeds=self._text_embeds[name]
        )
        figures = {**output.metrics, **speed_metrics(prefix, start, output.num_samples, len(loader))}
        self._trainer.log(figures)
        return figures

    def on_evaluate(
        self,
        args: TrainingArguments,
        state: TrainerState,
        control: TrainerControl,
        metrics: dict[str, float] | None = None,
        eval_dataloader: Any = None,
        **kwargs: Any,
    ) -> None:
        own = self._trainer.eval_dataset
        own = list(own.values())[-1] if isinstance(own, dict) else own
        if metrics is not None and getattr(eval_dataloader, "dataset", None) is own:
            metrics.update(self.evaluate())


def _are_texts_trained(model: Any) -> bool:
    """Whether training changes the features of class names: Efficient-Prompt's vectors stand around all names."""
    text_side = (model.text_model, model.text_projection)
    is_trained = any(weight.requires_grad for part in text_side for weight in part.parameters())
    return is_trained or isinstance(model, EfficientPromptModel)
