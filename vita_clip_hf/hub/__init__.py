"""To the Hub: cards and commits."""

from .cards import CardDetails, render_card
from .staging import Additions
from .upload import publish, publish_folder

__all__ = ["Additions", "CardDetails", "publish", "publish_folder", "render_card"]
