"""The app in a browser: starting it, visiting it, reading its answers. Heavy packages are imported by who calls."""

import os
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

LABELS = {"motions": ("moving left", "moving right", "growing"), "looks": ("a circle", "a square, or a box", "a star")}
WAIT = 120_000  # milliseconds, for an answer; a busy machine may be very slow


@contextmanager
def serving(command: list[str], home: Path, **environment: str) -> Iterator[str]:
    """The address of an app that a command starts; it is stopped afterwards."""
    environment = {
        **os.environ,
        "OMP_NUM_THREADS": "1",
        "GRADIO_TEMP_DIR": str(home / "gradio"),
        "no_proxy": "127.0.0.1,localhost",
        **environment,
    }
    with open(home / "log", "w+") as log:
        process = subprocess.Popen(command, env=environment, stdout=subprocess.PIPE, stderr=log, text=True)
        try:
            assert process.stdout is not None
            for line in process.stdout:  # ends if the process does
                if " at http://" in line:
                    yield line.rpartition(" at ")[2].strip().rstrip("/")
                    assert process.poll() is None, "the app has ended"
                    return
            raise AssertionError((home / "log").read_text()[-3000:])
        finally:
            process.terminate()
            process.wait(timeout=60)


@contextmanager
def visit(browser, address: str, width: int = 1280, height: int = 960, scheme: str = "light"):
    context = browser.new_context(viewport={"width": width, "height": height}, color_scheme=scheme)
    context.set_default_timeout(WAIT)
    opened = context.new_page()
    opened.goto(address)
    opened.wait_for_selector("#vc-player input[type=file][aria-label]", state="attached")  # names.js has run
    yield opened
    context.close()


def put(page, video: Path) -> None:
    """Uploads a video and waits for the answer."""
    page.set_input_files("#vc-player input[type=file]", str(video))
    page.wait_for_selector(".vc-window")


def ranking(page, number: int = 0) -> list[tuple[str, str]]:
    """Labels and percentages of the ranking with prompts (0) or without (1)."""
    rows = page.locator(".vc-ranking").nth(number).locator("li")
    labels, scores = rows.locator(".vc-label").all_inner_texts(), rows.locator(".vc-score").all_inner_texts()
    return list(zip(labels, scores, strict=True))


def expected(adapter: Path, video: Path, labels=None) -> list[tuple[str, str]]:
    """What `vita-clip predict` says, as the page writes it."""
    from vita_clip_hf.predict import load_predictor

    found = load_predictor(adapter, labels, device="cpu")(str(video))
    return [(entry["label"], f"{entry['score']:.1%}") for entry in found]


def close_to(found: list[tuple[str, str]], wanted: list[tuple[str, str]]) -> None:
    """The same labels in the same order, and percentages that differ by rounding alone."""
    assert [label for label, _ in found] == [label for label, _ in wanted]
    for (_, score), (_, other) in zip(found, wanted, strict=True):
        assert abs(float(score[:-1]) - float(other[:-1])) < 0.11, (found, wanted)
