"""To the Hub: cards and commits."""

from .cards import CardDetails, render_card
from .upload import publish, publish_folder

__all__ = ["CardDetails", "publish", "publish_folder", "render_card"]
