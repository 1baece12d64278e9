"""To the Hub: cards and commits."""

from typing import TYPE_CHECKING

from ..lazy_names import lazy_names

if TYPE_CHECKING:
    from .cards import CardDetails as CardDetails
    from .cards import render_card as render_card
    from .staging import Additions as Additions
    from .upload import publish as publish
    from .upload import publish_folder as publish_folder

__all__ = ["Additions", "CardDetails", "publish", "publish_folder", "render_card"]

__getattr__, __dir__ = lazy_names(
    __name__,
    {
        "cards": ["CardDetails", "render_card"],
        "staging": ["Additions"],
        "upload": ["publish", "publish_folder"],
    },
)
