"""The model in a browser: `vita-clip app`, a Space, an API and MCP tools. Only `layout` and `launch` need Gradio."""

from typing import TYPE_CHECKING

from ..lazy_names import lazy_names

if TYPE_CHECKING:
    from .adapters import Adapters as Adapters
    from .launch import launch as launch
    from .layout import build_app as build_app
    from .session import Session as Session

__all__ = ["Adapters", "Session", "build_app", "launch"]

__getattr__, __dir__ = lazy_names(
    __name__,
    {
        "adapters": ["Adapters"],
        "launch": ["launch"],
        "layout": ["build_app"],
        "session": ["Session"],
    },
)
