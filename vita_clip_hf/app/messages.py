"""Errors as the page and the API show them."""

from collections.abc import Iterator
from contextlib import contextmanager
from html import escape

import gradio as gr


@contextmanager
def told() -> Iterator[None]:
    """Errors that a person can mend are shown in one line. Others are logged as they are, and the app goes on."""
    try:
        yield
    except (OSError, ValueError) as error:
        message = escape(" ".join(str(error).split()), quote=False)  # Gradio takes it for HTML
        raise gr.Error(message, print_exception=False) from error


__all__ = ["told"]
