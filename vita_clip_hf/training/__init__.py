"""Training the prompts."""

from .arguments import VitaClipTrainingArguments
from .draw_learner import DrawRecipe, EfficientPromptLearner
from .trainer import VitaClipTrainer

__all__ = ["DrawRecipe", "EfficientPromptLearner", "VitaClipTrainer", "VitaClipTrainingArguments"]
