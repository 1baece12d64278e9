"""What a training does beside its steps, as callbacks of transformers' Trainer."""

from .data_epoch import DataEpoch
from .prompt_average import PromptAverage
from .step_profile import StepProfile
from .zero_shot_sets import ZeroShotSets

__all__ = ["DataEpoch", "PromptAverage", "StepProfile", "ZeroShotSets"]
