"""Evaluation on sets whose classes have no learned contexts, beside the trainer's own set."""

import time
from collections.abc import Mapping
from typing import Any

from transformers import TrainerCallback, TrainerControl, TrainerState, TrainingArguments
from transformers.trainer_utils import speed_metrics

from ...evaluation.classification import ClassTexts, encode_class_texts
from ...evaluation.predict import evaluation_mode
from ...evaluation.protocols import Protocol, load_protocol
from ...modeling.modeling_efficient_prompt import EfficientPromptModel
from ...models.loading import LOADERS


class ZeroShotSets(TrainerCallback):
    """
    Evaluates further sets whenever the trainer has evaluated its own, and puts their figures beside its:
    `eval_NAME_top_1` and so on.

    The names of the classes are embedded as `vita-clip evaluate --protocol zero-shot` embeds them, by the same
    function. If training does not change the result, this is done at construction, because FSDP and DeepSpeed take the
    text tower apart later; else anew at each evaluation.

    Args:
        trainer: a [`VitaClipTrainer`] with a [`VitaClipProcessor`]; add the callback to it by `add_callback`.
        datasets: by name, as the trainer's own, each with its class names in `class_names`.
        class_texts: what stands for the classes of a set, by its name, if not what the protocol says: "own",
            "contexts" or "templates", see [`Protocol`].

    Raises:
        ValueError: the trainer has no tokenizer, a class name makes no sense, or FSDP or DeepSpeed takes apart a text
            side that is trained.
    """

    def __init__(self, trainer: Any, datasets: Mapping[str, Any], class_texts: Mapping[str, str] | None = None):
        self._trainer, self._datasets = trainer, dict(datasets)
        tokenizer = getattr(trainer.processing_class, "tokenizer", None)
        if tokenizer is None and datasets:
            raise ValueError("Zero-shot evaluation needs a tokenizer: give the trainer a VitaClipProcessor.")
        self._tokenizer = tokenizer
        self._protocols = {name: zero_shot_protocol((class_texts or {}).get(name)) for name in datasets}
        self._texts = {name: self._embed(name) for name in datasets}
        takes_apart = trainer.is_fsdp_enabled or trainer.is_deepspeed_enabled
        if takes_apart and any(_are_trained(texts, self._model()) for texts in self._texts.values()):
            raise ValueError(
                "This training changes the text features, which cannot be computed in its course under FSDP or "
                "DeepSpeed: leave eval_zero_shot out, and evaluate the saved model."
            )

    def _model(self) -> Any:
        return self._trainer.accelerator.unwrap_model(self._trainer.model, keep_torch_compile=False)

    def _embed(self, name: str) -> ClassTexts:
        model = self._model()
        wrapper, _ = LOADERS[model.config.model_type]
        with evaluation_mode(model):
            names = list(self._datasets[name].class_names)
            return encode_class_texts(wrapper(model, self._tokenizer), names, self._protocols[name])

    def evaluate(self, metric_key_prefix: str = "eval") -> dict[str, float]:
        """Evaluates all sets and logs the figures, which are called `{metric_key_prefix}_{name}_top_1` and so on."""
        figures: dict[str, float] = {}
        for name, dataset in self._datasets.items():
            figures |= self._evaluate(name, dataset, f"{metric_key_prefix}_{name}")
        return figures

    def _evaluate(self, name: str, dataset: Any, prefix: str) -> dict[str, float]:
        start = time.time()
        if _are_trained(self._texts[name], self._model()):
            with self._trainer.averaged():
                self._texts[name] = self._embed(name)
        loader = self._trainer.get_eval_dataloader(dataset)
        output = self._trainer.evaluation_loop(
            loader, f"Evaluation of {name}", metric_key_prefix=prefix, text_embeds=self._texts[name].embeds[0]
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


def zero_shot_protocol(class_texts: str | None = None) -> Protocol:
    """
    The protocol `zero-shot`, or the same with other `class_texts`. It averages the embeddings of the templates, so
    that a class has one.

    Raises:
        ValueError: there are no such `class_texts`.
    """
    protocol = load_protocol("zero-shot")
    return protocol if class_texts is None else protocol.with_changes({"class_texts": class_texts})


def _are_trained(texts: ClassTexts, model: Any) -> bool:
    """Whether training changes the features: contexts are learned; Efficient-Prompt's stand around all names."""
    text_side = (model.text_model, model.text_projection)
    is_trained = any(weight.requires_grad for part in text_side for weight in part.parameters())
    return is_trained or texts.kind in ("own", "contexts") or isinstance(model, EfficientPromptModel)
