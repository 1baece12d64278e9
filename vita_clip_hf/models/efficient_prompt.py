"""Efficient-Prompt: its own classes, or any texts, between its learned vectors."""

from collections.abc import Sequence

import torch

from .vita_clip import VitaClip


class EfficientPrompt(VitaClip):
    """
    An [`EfficientPromptModel`], or its subclass for classification. Texts of any kind, captions too, stand between the
    learned vectors.
    """

    def encode_labels(self, labels: Sequence[str], templates: Sequence[str] = ("{}",)) -> torch.Tensor:
        """The mean over the templates, `(C, D')`; Efficient-Prompt was trained on names alone."""
        return super().encode_labels(labels, templates)
