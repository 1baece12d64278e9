"""Training the prompts."""

from .arguments import VitaClipTrainingArguments
from .trainer import VitaClipTrainer

__all__ = ["VitaClipTrainer", "VitaClipTrainingArguments"]
