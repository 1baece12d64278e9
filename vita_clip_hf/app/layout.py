"""The page: what stands where, and what happens when. Everything that is computed is in `session`."""

from collections.abc import Iterator, Sequence
from html import escape
from importlib.resources import files
from pathlib import Path
from typing import Any

import gradio as gr

from ..hub_cards.handler import RequestError
from .downloads import downloaded
from .endpoints import AT_WORK, add_endpoints
from .messages import told
from .page import NOTHING_YET, ONE_LABEL, no_answer, side_by_side, timeline_bar
from .session import Analysis, Look, Question, Session, parse_labels
from .subtitles import subtitles
from .timeline import clock

DESCRIPTION = (
    "A frozen CLIP that reads videos by learned prompts. Upload a clip, record one or pick an example; see what it "
    "finds, when, and where it looks."
)
VIEWS = ("Frames", "Class token", "Summary token", "All layers")
WHOLE = "The whole video"
# Fonts of the visitor's system: nothing is asked of other hosts.
FONTS = ("system-ui", "-apple-system", "Segoe UI", "Roboto", "sans-serif")


def build_app(session: Session, examples: Sequence[Path] = (), title: str = "Vita-CLIP") -> gr.Blocks:
    """
    Lays out the page and names its endpoints. Nothing is computed until somebody asks.

    Args:
        session: answers.
        examples: videos to pick from.
        title: of the page.
    """
    with gr.Blocks(title=title, analytics_enabled=False, delete_cache=(3600, 3600)) as app:
        gr.HTML(f"<h1>{escape(title)}</h1><p>{escape(DESCRIPTION)}</p>", elem_id="vc-title")
        with gr.Row(equal_height=False):
            with gr.Column(min_width=320, scale=5):
                player = _player()
                timeline = _timeline()
                url, fetch = _address()
                if examples:
                    gr.Examples([[str(path)] for path in examples], player, label="Examples", cache_examples=False)
            with gr.Column(min_width=320, scale=6):
                question, run = _question(session)
                answer = gr.HTML(NOTHING_YET, elem_id="vc-answer")
                galleries = _galleries()
        show, outputs = _Show(session), [answer, timeline, player, *galleries]
        looking: dict[str, Any] = {
            "inputs": [player, *question],
            "api_visibility": "private",
            "trigger_mode": "always_last",
            "show_progress_on": answer,
            **AT_WORK,
        }
        player.change(show.arrived, outputs=outputs, **looking)
        gr.on([question[0].input, question[1].submit, run.click], show.analyse, outputs=outputs, **looking)
        question[0].change(show.placeholder, question[0], question[1], api_visibility="private", queue=False)
        timeline.select(show.window, outputs=[answer, *galleries], **looking)
        gr.on([fetch.click, url.submit], show.fetch, url, player, api_visibility="private", **AT_WORK)
        add_endpoints(session)
    return app


def page_settings() -> dict[str, Any]:
    """What `launch` takes beside the page: its looks."""
    theme = gr.themes.Soft(primary_hue="cyan", secondary_hue="cyan", neutral_hue="slate", font=list(FONTS)).set(
        # Text and its ground differ by 4.5 : 1 or more, in light and in dark.
        block_label_text_color="*primary_900",
        block_title_text_color="*primary_900",
        block_label_text_color_dark="*primary_50",
        block_title_text_color_dark="*primary_50",
        block_title_background_fill_dark="*primary_900",
        block_label_background_fill_dark="*primary_900",
        button_primary_background_fill="*primary_700",
        button_primary_background_fill_hover="*primary_800",
        button_primary_background_fill_dark="*primary_700",
        input_placeholder_color="*neutral_500",
        input_placeholder_color_dark="*neutral_400",
        body_text_color_subdued="*neutral_600",
        body_text_color_subdued_dark="*neutral_300",
        link_text_color="*primary_700",
        checkbox_label_background_fill_selected="*primary_700",
        checkbox_label_background_fill_selected_dark="*primary_700",
        checkbox_label_text_color_selected="white",
        checkbox_label_text_color_selected_dark="white",
    )
    return {"theme": theme, "css": _file("app.css"), "js": _file("names.js")}


# ---- parts of the page ----


def _player() -> gr.Video:
    # The sound is neither asked for nor taken off: taking it off would run ffmpeg over files of strangers. The camera
    # is not mirrored, since left and right are what a model is asked for, nor larger than a model looks at.
    size = {"width": {"ideal": 640}, "height": {"ideal": 480}}
    webcam = gr.WebcamOptions(mirror=False, constraints={"audio": False, "video": size})
    return gr.Video(
        label="Video", sources=["upload", "webcam"], include_audio=True, webcam_options=webcam, elem_id="vc-player"
    )


def _timeline() -> gr.HTML:
    return gr.HTML("", js_on_load=_file("timeline.js"), elem_id="vc-timeline")


def _address() -> tuple[gr.Textbox, gr.Button]:
    with gr.Accordion("Or a video from the web", open=False):
        url = gr.Textbox(label="Address of a video file", placeholder="https://host/video.mp4", max_lines=1)
        fetch = gr.Button("Fetch", size="sm")
    return url, fetch


def _question(session: Session) -> tuple[list[Any], gr.Button]:
    """The fields of a [`Question`] in their order, and the button."""
    names = session.adapters.names
    adapter = gr.Radio(names, value=names[0], label="Adapter", visible=len(names) > 1, elem_id="vc-adapter")
    labels = gr.Textbox(
        label="Labels, one a line (empty: the adapter's own)",
        placeholder=_own_labels(session, names[0]),
        lines=3,
        max_lines=12,
        elem_id="vc-labels",
    )
    run = gr.Button("Look at the video", variant="primary", elem_id="vc-run")
    with gr.Accordion("More settings", open=False):
        template = gr.Textbox(label="Text around a label of yours", placeholder="a video of {}.", max_lines=1)
        top_k = gr.Slider(1, 20, value=5, step=1, precision=0, label="Labels shown")
        window = gr.Number(0, minimum=0, label="Seconds of a window on the timeline (0: by the video's length)")
        stride = gr.Number(0, minimum=0, label="Seconds from one window to the next (0: a window's length)")
    return [adapter, labels, template, top_k, window, stride], run


def _galleries() -> list[gr.Gallery]:
    galleries = []
    with gr.Tabs():
        for name in VIEWS:
            with gr.Tab(name):
                galleries.append(
                    gr.Gallery(
                        label=name,
                        show_label=False,
                        columns=4,
                        height="auto",
                        object_fit="contain",
                        interactive=False,
                        elem_classes="vc-gallery",
                    )
                )
    return galleries


# ---- what happens ----


class _Show:
    """A session's answers as values of the page's parts."""

    def __init__(self, session: Session):
        self._session = session

    def arrived(self, video: str | None, *question: Any) -> Iterator[list[Any]]:
        """Another video is in the player, or none any more."""
        if video:
            yield from self.analyse(video, *question)
        else:
            yield [NOTHING_YET, "", gr.skip(), *([] for _ in VIEWS)]

    def analyse(self, video: str | None, *question: Any) -> Iterator[list[Any]]:
        """All that there is to show; after an error why there is nothing, in place of the answer before."""
        with told():
            if not video:
                raise RequestError("there is no video yet: upload, record or pick one")
            asked = _asked(question)
            try:
                found = self._session.analyse(video, asked)
            except RequestError as error:
                yield [no_answer(str(error)), "", gr.Video(subtitles=[]), *([] for _ in VIEWS)]
                raise
        cues = [] if found.windows is None else subtitles(found.windows)
        yield [
            _answer(found, WHOLE, asked),
            timeline_bar(found.windows),
            gr.Video(subtitles=cues),
            *_pictures(found.look),
        ]

    def window(self, event: gr.EventData, video: str | None, *question: Any) -> list[Any]:
        with told():
            if not video:
                raise RequestError("there is no video any more: upload, record or pick one")
            start, end = float(event.start), float(event.end)
            asked = _asked(question)
            found = self._session.window(video, asked, start, end)
        return [_answer(found, f"From {clock(start)} to {clock(end)}", asked), *_pictures(found.look)]

    def placeholder(self, adapter: str) -> Any:
        with told():
            return gr.Textbox(placeholder=_own_labels(self._session, adapter))

    def fetch(self, url: str) -> Iterator[str]:
        with told(), downloaded(url) as path:
            yield str(path)


def _asked(question: Sequence[Any]) -> Question:
    adapter, labels, template, top_k, window, stride = question
    return Question(adapter, labels or "", template or "", int(top_k), window or 0, stride or 0)


def _answer(found: Analysis, what: str, asked: Question) -> str:
    hint = ONE_LABEL if len(parse_labels(asked.labels)) == 1 else ""
    return side_by_side(found.ranking, found.without_prompts, what, hint)


def _pictures(look: Look) -> list[list[tuple[Any, str]]]:
    """For each gallery its pictures with their times; none for a token that the model does not have."""
    if look.times is None:
        captions = [f"frame {number + 1}" for number in range(len(look.pictures[VIEWS[0]]))]
    else:
        captions = [clock(time) for time in look.times]
    return [
        [(picture, caption) for picture, caption in zip(look.pictures[name], captions, strict=True)]
        if name in look.pictures
        else []
        for name in VIEWS
    ]


def _own_labels(session: Session, adapter: str) -> str:
    labels = session.adapters.labels(adapter)
    return "\n".join(labels) if labels else "This model has no classes of its own: name some"


def _file(name: str) -> str:
    return files(__package__).joinpath(name).read_text(encoding="utf-8")


__all__ = ["build_app", "page_settings"]
