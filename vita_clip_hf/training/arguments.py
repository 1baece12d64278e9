"""The settings of a training run; defaults are the paper's recipe."""

import logging
import os
from dataclasses import dataclass, field

import torch
from transformers import TrainingArguments
from transformers.utils import is_torch_xla_available

from .number_ranges import check_number

logger = logging.getLogger(__name__)


@dataclass
class VitaClipTrainingArguments(TrainingArguments):
    """
    transformers' [`TrainingArguments`] with the released supervised recipe as defaults: 30,000 steps of 256 clips,
    AdamW with learning rate 4e-4 and weight decay 0.05, cosine to 0 without warm-up, gradients not clipped. The
    added settings are for clips and prompts.
    """

    learning_rate: float = field(default=4e-4, metadata={"help": "AdamW's learning rate at the start."})
    weight_decay: float = field(
        default=0.05, metadata={"help": "AdamW's weight decay, of everything that is learned, as released."}
    )
    max_steps: int = field(
        default=30_000, metadata={"help": "Optimizer steps; it overrides num_train_epochs unless it is -1."}
    )
    per_device_train_batch_size: int = field(
        default=32, metadata={"help": "Clips on each device at once; the paper's total is 256."}
    )
    max_grad_norm: float = field(default=0.0, metadata={"help": "Gradients are clipped to this norm; 0 clips none."})
    lr_scheduler_type: str = field(default="cosine", metadata={"help": "How the learning rate falls."})
    remove_unused_columns: bool = field(
        default=False, metadata={"help": "Off: the columns of a data set are decoded before the model sees them."}
    )
    ddp_find_unused_parameters: bool | None = field(
        default=False, metadata={"help": "Off: every step uses every prompt, so DDP need not search for unused ones."}
    )
    mixup_alpha: float = field(
        default=0.0, metadata={"help": "Mixes pairs of clips, in shares drawn from Beta(alpha, alpha); 0 mixes none."}
    )
    cutmix_alpha: float = field(
        default=0.0,
        metadata={"help": "Puts a box of one clip into another, its area drawn from Beta(alpha, alpha); 0 puts none."},
    )
    ema_decay: float | None = field(
        default=None,
        metadata={
            "help": "Keeps a moving average of the prompts, such as 0.999, which is evaluated and saved in the end."
        },
    )
    share_text_features: bool = field(
        default=True,
        metadata={
            "help": "With gradient accumulation, encodes the classes once in an optimizer step, not once a batch. The "
            "gradients are the same. Where the text tower has attention dropout, every batch encodes them."
        },
    )
    max_bad_videos: float = field(
        default=0.01,
        metadata={"help": "With on_bad_video=skip: training stops when more than this share of the files is bad."},
    )
    early_stopping_patience: int = field(
        default=0,
        metadata={"help": "Stops after so many evaluations without a better metric_for_best_model; 0 never stops."},
    )
    profile_steps: int = field(
        default=0, metadata={"help": "Profiles so many steps after the first ten: profile.txt and profile.json."}
    )

    use_cpu: bool = field(
        default=False, metadata={"help": "Train on the CPU beside a GPU; without a GPU that is so by itself."}
    )
    logging_steps: float = field(default=10, metadata={"help": "Steps between two lines of the log."})
    logging_first_step: bool = field(default=True, metadata={"help": "Whether the first step is logged too."})

    def __post_init__(self) -> None:
        self._check_numbers()
        # Only the end of training is published: of a checkpoint the Trainer would upload no card and no code.
        self.hub_strategy = "end"
        if not self.use_cpu and not _has_accelerator():
            self.use_cpu = True
            if os.environ.get("RANK", "0") == "0":
                logger.warning("No GPU was found: training runs on the CPU.")
        super().__post_init__()

    def _check_numbers(self) -> None:
        """Raises `ValueError` for numbers that make no sense, of which transformers lets many pass."""
        check_number("max_steps", self.max_steps, -1, whole=True)
        if self.max_steps == 0:
            raise ValueError(
                "max_steps is 0, and nothing would be trained; expected a number of steps, or -1 for num_train_epochs."
            )
        if self.max_steps < 0:
            check_number("num_train_epochs", self.num_train_epochs, above=0)
        for name in ("per_device_train_batch_size", "per_device_eval_batch_size", "gradient_accumulation_steps"):
            check_number(name, getattr(self, name), 1, whole=True)
        for name in ("seed", "dataloader_num_workers", "early_stopping_patience", "profile_steps"):
            check_number(name, getattr(self, name), 0, whole=True)
        check_number("seed", self.seed, most=2**32 - 1)  # numpy's bound
        for name in ("learning_rate", "weight_decay", "max_grad_norm", "mixup_alpha", "cutmix_alpha"):
            check_number(name, getattr(self, name), 0)
        for name in ("logging_steps", "save_steps"):
            check_number(name, getattr(self, name), above=0)
        if self.eval_steps is not None:
            check_number("eval_steps", self.eval_steps, above=0)
        if self.save_total_limit is not None:
            check_number("save_total_limit", self.save_total_limit, 1, whole=True)
        if self.dataloader_prefetch_factor is not None:
            check_number("dataloader_prefetch_factor", self.dataloader_prefetch_factor, 1, whole=True)
        if self.ema_decay is not None and not (isinstance(self.ema_decay, float) and 0 < self.ema_decay < 1):
            raise ValueError(f"ema_decay is {self.ema_decay}; expected a number between 0 and 1, such as 0.999.")
        if self.load_best_model_at_end and self.save_strategy != "best":
            self._check_best_is_saved()
        check_number("max_bad_videos", self.max_bad_videos, 0, 1)
        check_number("label_smoothing_factor", self.label_smoothing_factor, 0, 1)
        for name in ("adam_beta1", "adam_beta2"):
            check_number(name, getattr(self, name), 0, 1)

    def _check_best_is_saved(self) -> None:
        """transformers refuses these too, by the names of Python's classes."""
        evaluates, saves = (getattr(when, "value", when) for when in (self.eval_strategy, self.save_strategy))
        if evaluates == "no":
            raise ValueError(
                "load_best_model_at_end needs evaluations, which say which checkpoint is the best: give --validation, "
                "and an --eval_strategy other than 'no'."
            )
        if evaluates != saves:
            raise ValueError(
                f"load_best_model_at_end needs a checkpoint of each evaluation, but eval_strategy is {evaluates!r} "
                f"and save_strategy {saves!r}: give both the same."
            )

    @property
    def device(self) -> torch.device:
        """
        The device of the model and its batches. For several processes on the CPU transformers gives `cpu:0`. torch
        reads no file onto that, but transformers 5.17 reads the optimizer of a checkpoint onto it: here it is `cpu`.
        """
        device = super().device
        return torch.device("cpu") if device.type == "cpu" else device


def _has_accelerator() -> bool:
    return torch.accelerator.is_available() or is_torch_xla_available()
