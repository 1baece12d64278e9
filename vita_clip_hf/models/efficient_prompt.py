"""Efficient-Prompt: its own classes, or any texts, between its learned vectors."""

from .vita_clip import VitaClip


class EfficientPrompt(VitaClip):
    """
    An [`EfficientPromptModel`], or its subclass for classification. Texts of any kind, captions too, stand between the
    learned vectors.
    """
