"""Efficient-Prompt: its own classes, or any texts, between its learned vectors."""

from .vita_clip import VitaClip


class EfficientPrompt(VitaClip):
    """
    An [`EfficientPromptModel`], or its subclass for classification. Texts of any kind, captions too, stand between the
    learned vectors.
    """

    @property
    def max_text_tokens(self) -> int:
        """Those that have a place beside the learned vectors."""
        return super().max_text_tokens - self.model.config.text_config.text_prompt_length
