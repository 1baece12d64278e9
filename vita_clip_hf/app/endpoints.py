"""The app's API: named endpoints for `gradio_client` and curl, which are the tools of the MCP server too."""

from typing import Any

import gradio as gr

from .messages import told
from .session import Question, Session

# Whoever works on a video shares these places: the page's parts and the endpoints together.
AT_WORK: dict[str, Any] = {"concurrency_id": "video", "concurrency_limit": 4}


def add_endpoints(session: Session) -> None:
    """
    Names the endpoints within a page. Each is described by its function's docstring, which MCP clients read; their
    fields are parts of the page that are not shown, since a part for videos refuses paths that were not uploaded.

    Args:
        session: answers.
    """
    names = session.adapters.names
    with gr.Column(visible=False):
        video = gr.Video(label="Video", include_audio=True)
        adapter = gr.Dropdown(names, value=names[0], label="Adapter")
        labels = gr.Textbox("", label="Labels, one a line", lines=2)
        template = gr.Textbox("", label="Text around a label")
        top_k = gr.Number(5, precision=0, label="Labels in the answer")
        prompts = gr.Checkbox(True, label="Prompts on")
        window = gr.Number(0, label="Seconds of a window")
        stride = gr.Number(0, label="Seconds from one window to the next")
        answer, call = gr.JSON(label="Answer"), gr.Button("Call")
    asked, tools = [video, adapter, labels, template, top_k], _Tools(session)
    call.click(tools.classify, [*asked, prompts], answer, api_name="classify", **AT_WORK)
    call.click(tools.timeline, [*asked, window, stride], answer, api_name="timeline", **AT_WORK)
    call.click(tools.compare, asked, answer, api_name="compare", **AT_WORK)
    call.click(tools.adapters, None, answer, api_name="adapters")


class _Tools:
    def __init__(self, session: Session):
        self._session = session

    def classify(
        self, video: str, adapter: str, labels: str = "", template: str = "", top_k: int = 5, prompts: bool = True
    ) -> list[dict[str, Any]]:
        """
        Names the action in a video: ranked labels with probabilities, best first.

        Args:
            video: the video file.
            adapter: name of the adapter that looks at it; the tool `adapters` lists them.
            labels: names to choose from, one a line; empty for the adapter's own classes.
            template: the text around a label, with one {}; empty for the usual ones.
            top_k: labels in the answer.
            prompts: true for Vita-CLIP, false for the frozen CLIP without prompts.
        """
        with told():
            return self._session.classify(video, Question(adapter, labels, template, top_k), prompts)

    def timeline(
        self,
        video: str,
        adapter: str,
        labels: str = "",
        template: str = "",
        top_k: int = 5,
        window_seconds: float = 0,
        stride_seconds: float = 0,
    ) -> list[dict[str, Any]]:
        """
        Says what happens when in a video: ranked labels for each window, with its start and end in seconds.

        Args:
            video: the video file.
            adapter: name of the adapter that looks at it; the tool `adapters` lists them.
            labels: names to choose from, one a line; empty for the adapter's own classes.
            template: the text around a label, with one {}; empty for the usual ones.
            top_k: labels for each window.
            window_seconds: length of a window; 0 chooses by the video's length.
            stride_seconds: from the start of one window to the next; 0 for a window's length.
        """
        with told():
            question = Question(adapter, labels, template, top_k, window_seconds, stride_seconds)
            return [window.to_dict() for window in self._session.timeline(video, question)]

    def compare(
        self, video: str, adapter: str, labels: str = "", template: str = "", top_k: int = 5
    ) -> dict[str, list[dict[str, Any]]]:
        """
        Ranks labels for a video twice: with the learned prompts, and without them by the frozen CLIP.

        Args:
            video: the video file.
            adapter: name of the adapter that looks at it; the tool `adapters` lists them.
            labels: names to choose from, one a line; empty for the adapter's own classes.
            template: the text around a label, with one {}; empty for the usual ones.
            top_k: labels in each ranking.
        """
        with told():
            on, off = self._session.compare(video, Question(adapter, labels, template, top_k))
            return {"prompts_on": on, "prompts_off": off}

    def adapters(self) -> dict[str, list[str]]:
        """Lists the adapters by name, each with the labels that it was trained on."""
        loaded = self._session.adapters
        return {name: list(loaded.labels(name)) for name in loaded.names}


__all__ = ["AT_WORK", "add_endpoints"]
