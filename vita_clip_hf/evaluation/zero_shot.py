"""Zero-shot: class names in hand-written templates. A checkpoint needs it too: it lives beside the model."""

from ..modeling.labels_vita_clip import VIDEO_TEMPLATES, embed_labels

__all__ = ["VIDEO_TEMPLATES", "embed_labels"]
