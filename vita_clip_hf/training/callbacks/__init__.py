"""Callbacks of the Trainer: all that happens beside the steps of a training."""

from .adapter_checkpoints import AdapterCheckpoints
from .data_epoch import DataEpoch
from .prompt_average import PromptAverage
from .step_profile import StepProfile
from .zero_shot_sets import ZeroShotSets

__all__ = ["AdapterCheckpoints", "DataEpoch", "PromptAverage", "StepProfile", "ZeroShotSets"]
