"""Pictures of a training and of a model's predictions, as PNG files. They need the extra `demo` (matplotlib)."""

from .confusion import draw_confusion_matrix
from .curves import draw_loss_curves, draw_training_curve
from .film_strips import draw_film_strip

__all__ = ["draw_confusion_matrix", "draw_film_strip", "draw_loss_curves", "draw_training_curve"]
