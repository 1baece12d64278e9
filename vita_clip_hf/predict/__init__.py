"""Naming what happens in video files: a checkpoint, its processor, and the zero-shot pipeline around them."""

from .predictor import Predictor, load_predictor, predict_file
from .results import Prediction

__all__ = ["Prediction", "Predictor", "load_predictor", "predict_file"]
