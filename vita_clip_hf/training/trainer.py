"""transformers' Trainer for Vita-CLIP."""

import logging
import os
import shutil
from contextlib import AbstractContextManager, nullcontext
from pathlib import Path
from typing import Any

import torch
from accelerate.data_loader import prepare_data_loader
from huggingface_hub import CommitInfo
from torch import nn
from torch.utils.data import DataLoader
from transformers import EvalPrediction, Trainer, TrainerState
from transformers.trainer import TRAINER_STATE_NAME
from transformers.trainer_utils import (
    EvalLoopOutput,
    SaveStrategy,
    TrainOutput,
    denumpify_detensorize,
)

from ..data import StreamedVideoClips, collate_clips
from ..data.normalization import PixelNormalization
from ..data.randomness import generator_for
from ..evaluation.predict import predict_batches
from ..hub.upload import check_base_is_public, publish_folder
from ..modeling.adapter_file_vita_clip import ADAPTER_FILE
from ..modeling.checkpoint_vita_clip import load_adapter_weights
from ..modeling.video_reading_vita_clip import VideoReadError
from .base_dtype import base_dtype_of, check_base_dtype
from .callbacks import DataEpoch, PromptAverage, StepProfile
from .checkpoints import FILE_LIST, remove_failed, remove_leftovers, remove_old, seal_checkpoint, whole_checkpoint
from .clear_errors import check_loss, clear_errors
from .clip_mixing import ClipMixing
from .data_wait import DataWait
from .interruption import EvaluationCutError, Interruption
from .recipe_card import describe_training
from .run_folder import WRITE_ERRORS, check_writable, sole_training
from .served_sampling import serve_as_trained
from .sharded import gather_state, load_sharded_adapter, save_sharded_optimizer
from .shared_text import SharedTextFeatures
from .skipped_videos import SkippedVideos, write_report
from .whole_model import WholeModel, figures_of, logits_of

logger = logging.getLogger(__name__)


class VitaClipTrainer(Trainer):
    """
    transformers' [`Trainer`] for clips and prompts. Clips arrive as bytes and are normalised on the device. Weight
    decay applies to every parameter with a gradient, as in the released recipe. Checkpoints hold the adapter, not the
    base, and one that was cut short is passed over. Evaluation averages views and is exact over any number of
    processes. `push_to_hub` writes this project's card.

    Args:
        processing_class: the [`VitaClipProcessor`] or [`VitaClipVideoProcessor`] of the model; it says how pixels are
            normalised and is saved beside the model, set to take frames as the training and evaluation data do.
        args, kwargs: as for [`Trainer`]. `compute_metrics` is loss, top-1 and top-5 if not given.
    """

    def __init__(self, *args: Any, **kwargs: Any):
        kwargs.setdefault("data_collator", collate_clips)
        if kwargs.get("compute_metrics") is None:
            kwargs["compute_metrics"] = figures_of
        super().__init__(*args, **kwargs)
        self.loss_is_scaled_for_ga = False  # compute_loss gives the mean of its batch
        self.label_smoother = None  # compute_loss smooths
        serve_as_trained(self.processing_class, self.train_dataset, self.eval_dataset)
        self._normalize = PixelNormalization.of(self.processing_class) if self.processing_class is not None else None
        num_classes = len(self._bare_model().config.label_names)
        self._mix = ClipMixing(num_classes, self.args.mixup_alpha, self.args.cutmix_alpha)
        self._shared_text = SharedTextFeatures()
        self._data_wait = DataWait()
        self._batches_in_step = 0
        self._skipped = SkippedVideos(
            self.args.output_dir,
            self.args.process_index,
            self.args.world_size,
            _length(self.train_dataset),
            self.args.max_bad_videos,
        )
        self.interruption: Interruption | None = None
        if hasattr(self.train_dataset, "set_epoch"):
            self.add_callback(DataEpoch(self.train_dataset))
        if self.args.profile_steps:
            self.add_callback(StepProfile(self.args.profile_steps))
        if self.args.ema_decay is not None and (self.is_fsdp_enabled or self.is_deepspeed_enabled):
            raise ValueError(
                "ema_decay averages whole prompts, which FSDP and DeepSpeed split: use DDP, or no average."
            )
        check_base_dtype(self._bare_model(), self.args, self.accelerator)
        self._average = None if self.args.ema_decay is None else PromptAverage(self.args.ema_decay)
        if self._average is not None:
            self.add_callback(self._average)

    def end_on_signals(self) -> Interruption:
        """From now on Ctrl-C and SIGTERM end a training after its step, with a checkpoint; see [`Interruption`]."""
        if self.interruption is None:
            self.interruption = Interruption(self)
            self.add_callback(self.interruption)
        return self.interruption

    def _bare_model(self) -> Any:
        return self.accelerator.unwrap_model(self.model, keep_torch_compile=False)

    def averaged(self) -> AbstractContextManager[None]:
        """Puts the average of the prompts in their place, with `ema_decay`."""
        return nullcontext() if self._average is None else self._average.in_place_of_weights(self._bare_model())

    # ---- the run ----

    def train(self, resume_from_checkpoint: str | bool | None = None, **kwargs: Any) -> TrainOutput:
        """
        Trains, from the start or from a checkpoint.

        Args:
            resume_from_checkpoint: a checkpoint's folder; or `True` for the newest whole one in `args.output_dir`.
            kwargs: as for [`Trainer.train`].

        Raises:
            OSError: the checkpoint is damaged, a checkpoint cannot be written, another training uses the folder, or a
                process that reads videos was killed.
            ValueError: there is no checkpoint to resume from, or too many videos are bad.
        """
        if resume_from_checkpoint:
            resume_from_checkpoint = whole_checkpoint(resume_from_checkpoint, self.args.output_dir)
        self._check_batches()
        check_writable(self.args.output_dir)
        with sole_training(self.args.output_dir) if self.args.should_save else nullcontext():
            return self._train(resume_from_checkpoint or None, **kwargs)

    def _train(self, checkpoint: str | None, **kwargs: Any) -> TrainOutput:
        if self.args.should_save:
            remove_leftovers(self.args.output_dir)
        self._skipped.start(resumed=checkpoint is not None)
        self.accelerator.wait_for_everyone()
        if checkpoint is not None and (done := self._finished(checkpoint)):
            return done
        try:
            with clear_errors(self.args.dataloader_num_workers):
                output = super().train(checkpoint, **kwargs)
        except EvaluationCutError:  # after a step, in all processes
            self._save_checkpoint(self.model, trial=None)
            output = TrainOutput(self.state.global_step, 0.0, {})
        except VideoReadError:
            self._save_what_is_trained()
            raise
        finally:
            self._shared_text.forget()
            if self.interruption is not None:
                self.interruption.restore()
        self.accelerator.wait_for_everyone()
        if self.is_world_process_zero():
            write_report(self.args.output_dir)
        return output

    def _check_batches(self) -> None:
        """Raises `ValueError` if there is no batch, of which transformers would train no step and say nothing."""
        num_clips, batch = _length(self.train_dataset), self.args.train_batch_size * self.args.world_size
        if self.args.dataloader_drop_last and num_clips is not None and num_clips < batch:
            raise ValueError(
                f"{num_clips} clips make no batch of {batch}, and dataloader_drop_last leaves out what is less: give "
                "a smaller --per_device_train_batch_size, or no --dataloader_drop_last."
            )

    def _save_what_is_trained(self) -> None:
        """A checkpoint of the steps so far, which a video ends that one process alone could not read."""
        is_saved = Path(self.args.output_dir, f"checkpoint-{self.state.global_step}", FILE_LIST).is_file()
        wanted = self.args.save_strategy != SaveStrategy.NO and self.state.global_step > 0
        if wanted and not is_saved and self.args.world_size == 1:
            self._save_checkpoint(self.model, trial=None)

    def _finished(self, checkpoint: str) -> TrainOutput | None:
        """The result of a run that ended at this checkpoint; the Trainer would train one more step."""
        state = TrainerState.load_from_json(os.path.join(checkpoint, TRAINER_STATE_NAME))
        steps, epochs = self.args.max_steps, self.args.num_train_epochs
        if steps > state.global_step or (steps <= 0 and (state.epoch or 0) < epochs - 1e-6):
            return None
        if self.is_fsdp_enabled or self.is_deepspeed_enabled:
            raise ValueError(
                f"{checkpoint} is of step {state.global_step}, with which the run is finished. Give more max_steps "
                "or num_train_epochs to train on; its adapter is in the checkpoint."
            )
        self._load_from_checkpoint(checkpoint)
        self.state = state
        return TrainOutput(state.global_step, 0.0, {"train_steps": state.global_step})

    def get_batch_samples(self, epoch_iterator: Any, num_batches: int, device: torch.device) -> tuple[list, Any]:
        """The batches of one optimizer step; the time until they are there is counted as waiting."""
        self._batches_in_step = 0
        with self._data_wait.waiting():
            return super().get_batch_samples(epoch_iterator, num_batches, device)

    def log(self, logs: dict[str, float], *args: Any, **kwargs: Any) -> None:
        """As the Trainer's; the log of training also has the share of time in which it waited for clips."""
        if "loss" in logs:
            logs["data_wait"] = round(self._data_wait.take_share(), 4)
        super().log(logs, *args, **kwargs)

    def get_train_dataloader(self) -> DataLoader:
        """Batches for this process. A stream is shared out already, so that no process decodes another's videos."""
        if not isinstance(self.train_dataset, StreamedVideoClips):
            return super().get_train_dataloader()
        args = self.args
        batches = DataLoader(
            self.train_dataset,
            batch_size=self._train_batch_size,
            collate_fn=self.data_collator,
            num_workers=args.dataloader_num_workers,
            prefetch_factor=args.dataloader_prefetch_factor,
            pin_memory=args.dataloader_pin_memory,
            drop_last=True,
        )
        return prepare_data_loader(batches, args.device, num_processes=1, process_index=0, put_on_device=True)

    # ---- one batch ----

    def _prepare_clips(self, inputs: dict[str, Any]) -> dict[str, Any]:
        """A batch as the model takes it: skipped videos noted, pixels normalised and, in training, clips mixed."""
        inputs = dict(inputs)
        skipped = inputs.pop("skipped", [])
        inputs["pixel_values"] = self._normalized(inputs["pixel_values"])
        if self.model.training:
            self._skipped.add(skipped, len(inputs["pixel_values"]))
            seed = self._seed_of_batch()
            inputs["pixel_values"], inputs["labels"] = self._mix(inputs["pixel_values"], inputs["labels"], seed)
        return inputs

    def _normalized(self, pixel_values: torch.Tensor) -> torch.Tensor:
        if pixel_values.dtype == torch.uint8 and self._normalize is None:
            raise ValueError(
                "The data set gives clips as uint8. Give the trainer the model's processor as processing_class, "
                "which says how they are normalised."
            )
        return pixel_values if self._normalize is None else self._normalize(pixel_values)

    def _seed_of_batch(self) -> int:
        """The seed for the draws of a batch: another one for every seed, step, batch within it, and process."""
        self._batches_in_step += 1
        place = (self.args.seed, self.state.global_step, self._batches_in_step, self.args.process_index)
        return generator_for(*place).initial_seed()

    def training_step(self, *args: Any, **kwargs: Any) -> torch.Tensor:
        """
        As in the base class.

        Raises:
            ValueError: the loss is not finite; transformers logs it as 0 and goes on.
        """
        loss = super().training_step(*args, **kwargs)
        check_loss(loss, self.state.global_step + 1, self.args)
        return loss

    def compute_loss(
        self,
        model: nn.Module,
        inputs: dict[str, Any],
        return_outputs: bool = False,
        num_items_in_batch: torch.Tensor | int | None = None,
    ) -> Any:
        """Cross-entropy, with `args.label_smoothing_factor`; the mean over the batch."""
        inputs = self._prepare_clips(inputs)
        labels = inputs.pop("labels")
        shares_text = self.model.training and self._can_share_text()
        is_last = self.accelerator.gradient_state.sync_gradients
        if shares_text:
            with self.compute_loss_context_manager():
                inputs["text_embeds"] = self._shared_text.features_for(self._bare_model(), is_last)
        outputs = model(**inputs)
        loss = nn.functional.cross_entropy(
            logits_of(outputs), labels, label_smoothing=self.args.label_smoothing_factor
        )
        if shares_text and is_last:
            scaler = getattr(self.accelerator, "scaler", None)
            scale = 1.0 if scaler is None else scaler.get_scale()
            loss = loss + self._shared_text.settle(self.current_gradient_accumulation_steps, scale)
        return (loss, outputs) if return_outputs else loss

    def _can_share_text(self) -> bool:
        """
        Whether the batches of a step may share text features. Not with dropout, which every batch is to draw anew, and
        not if the text tower cannot run on its own.
        """
        return (
            self.args.share_text_features
            and self.args.gradient_accumulation_steps > 1
            and self._bare_model().config.text_config.attention_dropout == 0
            and not self._needs_whole_forward()
        )

    def get_decay_parameter_names(self, model: nn.Module) -> list[str]:
        """Every parameter with a gradient decays: the released recipe has one parameter group."""
        return [name for name, parameter in model.named_parameters() if parameter.requires_grad]

    # ---- evaluation ----

    def get_eval_dataloader(self, eval_dataset: Any = None) -> DataLoader:
        """As the Trainer's. Workers persist for its own set alone: the Trainer would give them to other sets too."""
        is_own = eval_dataset is None or isinstance(eval_dataset, str) or eval_dataset is self.eval_dataset
        persist = self.args.dataloader_persistent_workers
        self.args.dataloader_persistent_workers = persist and is_own
        try:
            return super().get_eval_dataloader(eval_dataset)
        finally:
            self.args.dataloader_persistent_workers = persist

    def evaluation_loop(
        self,
        dataloader: DataLoader,
        description: str,
        prediction_loss_only: bool | None = None,
        ignore_keys: list[str] | None = None,
        metric_key_prefix: str = "eval",
        text_embeds: torch.Tensor | None = None,
    ) -> EvalLoopOutput:
        """
        The loop of `vita_clip_hf.evaluation` in place of transformers' own, on clips `(B, T, 3, H, W)` or several
        views of each, `(B, V, T, 3, H, W)`. With `ema_decay` it evaluates the average of the prompts.
        `compute_metrics` sees all samples at once. `unreadable_videos` counts those that could not be read.

        Args:
            dataloader, description, metric_key_prefix: as for [`Trainer`].
            prediction_loss_only, ignore_keys: not used.
            text_embeds: `(C, D')` of other classes than the model's own.
        """
        full_eval = torch.float16 if self.args.fp16_full_eval else torch.bfloat16 if self.args.bf16_full_eval else None
        if full_eval is not None and not self.is_in_train:
            self.model.to(device=self.args.device, dtype=full_eval)
        for part in (self.model, self.optimizer):
            if hasattr(part, "eval"):  # an optimizer has it that needs no schedule
                part.eval()
        self.callback_handler.eval_dataloader = dataloader
        batches: Any = dataloader
        if self.interruption is not None and self.is_in_train:
            batches = self.interruption.watch(dataloader)
        workers = self.args.dataloader_num_workers
        with clear_errors(workers), self.averaged(), self.accelerator.autocast():
            several = self.args.n_gpu > 1 and text_embeds is None  # DataParallel would share texts out like clips
            model = WholeModel(nn.DataParallel(self.model) if several else self.model, self._bare_model())
            if text_embeds is None and not self._needs_whole_forward():
                text_embeds = model.encode_classes()
            found = predict_batches(
                model,
                batches,
                text_embeds,
                normalize=self._normalized,
                accelerator=self.accelerator,
                description=f"{description} ({metric_key_prefix})",
                progress=not self.args.disable_tqdm,
            )
        logits, labels = found.logits.numpy(), None if found.labels is None else found.labels.numpy()
        figures: dict[str, Any] = {}
        if labels is not None and self.compute_metrics is not None:
            figures = self.compute_metrics(EvalPrediction(predictions=logits, label_ids=labels))
        if found.unreadable:
            figures["unreadable_videos"] = len(found.unreadable)
        prefix = f"{metric_key_prefix}_"
        figures = denumpify_detensorize(figures)
        metrics = {prefix + name.removeprefix(prefix): value for name, value in figures.items()}
        return EvalLoopOutput(predictions=logits, label_ids=labels, metrics=metrics, num_samples=len(logits))

    def _needs_whole_forward(self) -> bool:
        """Whether weights are spread over devices, and only a forward pass of the whole model joins them."""
        return self.is_deepspeed_enabled or self.is_fsdp_enabled or self.args.n_gpu > 1

    # ---- checkpoints ----

    def _save_checkpoint(self, model: nn.Module, trial: Any) -> None:
        run_folder = self._get_output_dir(trial)
        folder = Path(run_folder) / f"checkpoint-{self.state.global_step}"
        if self.args.should_save:
            shutil.rmtree(folder, ignore_errors=True)  # one that was cut short
        self.accelerator.wait_for_everyone()
        # The Trainer deletes old checkpoints before this one is sealed; a kill between the two would lose both.
        limit, self.args.save_total_limit = self.args.save_total_limit, None
        try:
            super()._save_checkpoint(model, trial)
            if self.args.should_save and self._average is not None:
                self._average.save(folder)
            self.accelerator.wait_for_everyone()
            if self.args.should_save:
                seal_checkpoint(folder)
        except WRITE_ERRORS as error:
            remove_failed(folder, error)
        finally:
            self.args.save_total_limit = limit
        if self.args.should_save:
            remove_old(run_folder, limit, self.state.best_model_checkpoint)

    def save_model(self, output_dir: str | None = None, _internal_call: bool = False) -> None:
        """
        Saves adapter, configuration and processor. Outside of checkpoints the prompts are their average, with
        `ema_decay`. Every process must call it.
        """
        in_checkpoint = output_dir is not None and Path(output_dir).name.startswith("checkpoint-")
        with nullcontext() if in_checkpoint else self.averaged():
            if not self.is_fsdp_enabled:
                super().save_model(output_dir, _internal_call)
                return
            # Whatever the state_dict_type, an adapter is one small file.
            self._save(output_dir or self.args.output_dir, gather_state(self.model))
            if self.args.push_to_hub and not _internal_call:
                self.push_to_hub(commit_message="Model save", revision=self.args.hub_revision)

    def _save_optimizer_and_scheduler(self, output_dir: str) -> None:
        if self.is_fsdp_enabled:
            # The Trainer's own also writes the whole model, base and all.
            save_sharded_optimizer(self, output_dir)
        else:
            super()._save_optimizer_and_scheduler(output_dir)

    def _load_from_checkpoint(self, resume_from_checkpoint: str, model: nn.Module | None = None) -> None:
        self._load_weights(resume_from_checkpoint, model)
        if self._average is not None:
            self._average.load(Path(resume_from_checkpoint), self._bare_model())

    def _load_weights(self, folder: str, model: nn.Module | None = None) -> None:
        adapter = os.path.join(folder, ADAPTER_FILE)
        if not os.path.isfile(adapter):
            super()._load_from_checkpoint(folder, model)  # a model without a base is saved whole
        elif self.is_fsdp_enabled:
            load_sharded_adapter(self.model if model is None else model, adapter)
        else:
            load_adapter_weights(self._bare_model(), adapter)

    def _load_best_model(self) -> None:
        folder = self.state.best_model_checkpoint
        if not os.path.isfile(os.path.join(folder, ADAPTER_FILE)) or self.is_deepspeed_enabled:
            super()._load_best_model()
            return
        self._load_weights(folder)
        if self._average is not None:  # the average was evaluated, and found to be the best
            self._average.load(Path(folder), self._bare_model())

    # ---- the Hub ----

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
            details: fields of [`CardDetails`]: `license`, `datasets`, `results`, ...; `training` is by default the
                recipe and the last evaluation.

        Returns:
            The commit, or a `Future` of it; `None` on all processes but the first.

        Raises:
            ValueError: the adapter names a base that others cannot load.
        """
        model = self._bare_model()
        if model.config.base_model_name_or_path is not None:
            check_base_is_public(model.config)
        self.callback_handler.on_push_begin(self.args, self.state, self.control)
        self.save_model(_internal_call=True)
        if not self.is_world_process_zero():
            return None
        return publish_folder(
            self.args.output_dir,
            self.args.hub_model_id or Path(self.args.output_dir).resolve().name,
            describe_training(self.args, self.state, details, base_dtype_of(model)),
            commit_message=commit_message,
            token=token or self.args.hub_token,
            revision=revision or self.args.hub_revision,
            private=self.args.hub_private_repo if private is None else private,
            run_as_future=not blocking,
        )


def _length(dataset: Any) -> int | None:
    return len(dataset) if hasattr(dataset, "__len__") else None
