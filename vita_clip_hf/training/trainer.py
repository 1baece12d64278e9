"""transformers' Trainer for Vita-CLIP."""

from pathlib import Path
from typing import Any

import torch
from huggingface_hub import CommitInfo
from torch import nn
from transformers import Trainer

from ..data import collate_clips
from ..hub import CardDetails, publish_folder
from ..modeling.publishing_vita_clip import check_base_is_public
from .normalization import PixelNormalization


class VitaClipTrainer(Trainer):
    """
    transformers' [`Trainer`] with four differences: clips arrive as bytes and are normalised on the device, weight
    decay applies to everything that is learned, as in the released recipe, checkpoints hold the adapter, and
    `push_to_hub` writes this project's card.

    Args:
        processing_class: the [`VitaClipProcessor`] or [`VitaClipVideoProcessor`] of the model; it says how pixels are
            normalised and is saved beside the model.
        args, kwargs: as for [`Trainer`].
    """

    def __init__(self, *args: Any, **kwargs: Any):
        kwargs.setdefault("data_collator", collate_clips)
        super().__init__(*args, **kwargs)
        self._normalize = PixelNormalization.of(self.processing_class) if self.processing_class is not None else None

    def _prepare_inputs(self, inputs: dict[str, Any]) -> dict[str, Any]:
        inputs = super()._prepare_inputs(inputs)
        pixel_values = inputs["pixel_values"]
        if pixel_values.dtype == torch.uint8:
            if self._normalize is None:
                raise ValueError(
                    "The data set gives clips as uint8. Give the trainer the model's processor as processing_class, "
                    "which says how they are normalised."
                )
            inputs["pixel_values"] = self._normalize(pixel_values)
        return inputs

    def get_decay_parameter_names(self, model: nn.Module) -> list[str]:
        """All that is learned decays: the released recipe has one parameter group."""
        return [name for name, parameter in model.named_parameters() if parameter.requires_grad]

    def push_to_hub(
        self,
        commit_message: str | None = "End of training",
        blocking: bool = True,
        token: str | None = None,
        revision: str | None = None,
        private: bool | None = None,
        **details: Any,
    ) -> CommitInfo | None:
        """
        Saves model and processor into `args.output_dir` and uploads them from there, with code and card, in one commit
        to `args.hub_model_id`, or a repository of the output folder's name. Every process must call it.

        Args:
            commit_message: of the commit.
            blocking: wait for the upload; else a `Future` is returned.
            token, revision, private: by default those of the training arguments.
            details: fields of [`CardDetails`]: `license`, `datasets`, `results`, ...; `training` is the recipe and the
                last evaluation, where it is not given.

        Returns:
            The commit, or a `Future` of it; `None` on all processes but the first.

        Raises:
            ValueError: the adapter names a base that others cannot load.
        """
        model = self.accelerator.unwrap_model(self.model)
        if model.config.base_model_name_or_path is not None:
            check_base_is_public(model.config)
        details.setdefault("training", self._describe_training())
        card = CardDetails(**details)
        self.callback_handler.on_push_begin(self.args, self.state, self.control)
        self.save_model(_internal_call=True)
        if not self.is_world_process_zero():
            return None
        return publish_folder(
            self.args.output_dir,
            self.args.hub_model_id or Path(self.args.output_dir).resolve().name,
            card,
            commit_message=commit_message,
            token=token or self.args.hub_token,
            revision=revision or self.args.hub_revision,
            private=self.args.hub_private_repo if private is None else private,
            run_as_future=not blocking,
        )

    def _describe_training(self) -> dict[str, Any]:
        """The recipe, and what the last evaluation said, as rows of the card."""
        precision = "bfloat16" if self.args.bf16 else "float16" if self.args.fp16 else "float32"
        recipe: dict[str, Any] = {
            "steps": self.state.global_step,
            "clips in a step": self.args.train_batch_size
            * self.args.gradient_accumulation_steps
            * self.args.world_size,
            "learning rate": self.args.learning_rate,
            "schedule": str(getattr(self.args.lr_scheduler_type, "value", self.args.lr_scheduler_type)),
            "weight decay": self.args.weight_decay,
            "precision": precision,
            "seed": self.args.seed,
        }
        evaluations = [entry for entry in self.state.log_history if "eval_loss" in entry]
        speed = ("_runtime", "_per_second")
        last = {name: value for name, value in (evaluations or [{}])[-1].items() if not name.endswith(speed)}
        measured = {name: f"{value:.4g}" for name, value in last.items() if name.startswith("eval_")}
        return {**recipe, **{f"evaluation: {name.removeprefix('eval_')}": value for name, value in measured.items()}}
