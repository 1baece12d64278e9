"""To the Hub: cards and commits."""

from .cards import CardDetails, render_card
from .publish import publish, publish_folder

__all__ = ["CardDetails", "publish", "publish_folder", "render_card"]
