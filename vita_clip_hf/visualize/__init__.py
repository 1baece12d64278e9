"""Pictures of a training and of a model's predictions. They need the extra `demo` (matplotlib)."""

from typing import TYPE_CHECKING

from ..lazy_names import lazy_names

if TYPE_CHECKING:
    from .animation import write_animation as write_animation
    from .attention import AttentionMaps as AttentionMaps
    from .attention import attention_maps as attention_maps
    from .confusion import draw_confusion_matrix as draw_confusion_matrix
    from .curves import draw_loss_curves as draw_loss_curves
    from .curves import draw_training_curve as draw_training_curve
    from .explanation import Explanation as Explanation
    from .explanation import draw_explanation as draw_explanation
    from .film_strips import draw_film_strip as draw_film_strip
    from .occlusion import frame_importance as frame_importance

__all__ = [
    "AttentionMaps",
    "Explanation",
    "attention_maps",
    "draw_confusion_matrix",
    "draw_explanation",
    "draw_film_strip",
    "draw_loss_curves",
    "draw_training_curve",
    "frame_importance",
    "write_animation",
]

__getattr__, __dir__ = lazy_names(
    __name__,
    {
        "animation": ["write_animation"],
        "attention": ["AttentionMaps", "attention_maps"],
        "confusion": ["draw_confusion_matrix"],
        "curves": ["draw_loss_curves", "draw_training_curve"],
        "explanation": ["Explanation", "draw_explanation"],
        "film_strips": ["draw_film_strip"],
        "occlusion": ["frame_importance"],
    },
)
