"""Evaluation on sets whose classes have no learned contexts, beside the trainer's own set."""

import time
from collections.abc import Mapping
from typing import Any

from transformers import Trainer, TrainerCallback, TrainerControl, TrainerState, TrainingArguments
from transformers.trainer_utils import speed_metrics

from ...evaluation import embed_labels


class ZeroShotSets(TrainerCallback):
    """
    Evaluates further sets whenever the trainer has evaluated its own, and puts their figures beside its:
    `eval_NAME_top_1` and so on.

    The names of the classes, in hand-written templates, are embedded at construction: FSDP and DeepSpeed take the text
    tower apart later. It is frozen, so that training does not change the embeddings.

    Args:
        trainer: a [`VitaClipTrainer`] with a [`VitaClipProcessor`]; add the callback to it by `add_callback`.
        datasets: by name, as the trainer's own, each with its class names in `class_names`.

    Raises:
        ValueError: the trainer has no tokenizer, or a class name makes no sense.
    """

    def __init__(self, trainer: Trainer, datasets: Mapping[str, Any]):
        self._trainer, self._datasets = trainer, dict(datasets)
        tokenizer = getattr(trainer.processing_class, "tokenizer", None)
        if tokenizer is None and datasets:
            raise ValueError("Zero-shot evaluation needs a tokenizer: give the trainer a VitaClipProcessor.")
        model = trainer.accelerator.unwrap_model(trainer.model, keep_torch_compile=False)
        self._text_embeds = {
            name: embed_labels(model, tokenizer, list(dataset.class_names)) for name, dataset in self._datasets.items()
        }

    def evaluate(self, metric_key_prefix: str = "eval") -> dict[str, float]:
        """Evaluates all sets and logs the figures, which are called `{metric_key_prefix}_{name}_top_1` and so on."""
        figures: dict[str, float] = {}
        for name, dataset in self._datasets.items():
            figures |= self._evaluate(name, dataset, f"{metric_key_prefix}_{name}")
        return figures

    def _evaluate(self, name: str, dataset: Any, prefix: str) -> dict[str, float]:
        start = time.time()
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
