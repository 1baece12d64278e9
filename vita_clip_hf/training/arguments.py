"""The settings of a training run; defaults are the paper's recipe."""

from dataclasses import dataclass, field

from transformers import TrainingArguments


@dataclass
class VitaClipTrainingArguments(TrainingArguments):
    """
    transformers' [`TrainingArguments`] with the released supervised recipe as defaults: 30,000 steps of 256 clips,
    AdamW with learning rate 4e-4 and weight decay 0.05, cosine to 0 without warm-up, gradients not clipped.
    """

    learning_rate: float = field(default=4e-4, metadata={"help": "AdamW's learning rate at the start."})
    weight_decay: float = field(
        default=0.05, metadata={"help": "AdamW's weight decay, of everything that is learned, as released."}
    )
    max_steps: int = field(default=30_000, metadata={"help": "Optimizer steps; it overrides num_train_epochs."})
    per_device_train_batch_size: int = field(
        default=32, metadata={"help": "Clips on each device at once; the paper's total is 256."}
    )
    max_grad_norm: float = field(default=0.0, metadata={"help": "Gradients are clipped to this norm; 0 clips none."})
    lr_scheduler_type: str = field(default="cosine", metadata={"help": "How the learning rate falls."})
    remove_unused_columns: bool = field(
        default=False, metadata={"help": "Off: the columns of a data set are decoded before the model sees them."}
    )
