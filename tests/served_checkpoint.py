"""A published folder with its handler and server, a process that serves it, and the Hub's form of its answers."""

import json
import os
import shutil
import subprocess
import sys
import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from huggingface_hub import VideoClassificationInput, VideoClassificationOutputElement
from toy_checkpoint import save_toy_checkpoint

CARDS = Path(__file__).resolve().parents[1] / "hub_cards"
SERVING = ("handler.py", "server.py", "requirements.txt", "Dockerfile")
# As if the package were not installed, in every process that Python starts from here.
HIDE_PACKAGE = "import sys\nsys.modules['vita_clip_hf'] = None\n"


def save_served_checkpoint(folder: Path) -> Path:
    """A toy adapter as it lies in a repository, with what serves it."""
    adapter = save_toy_checkpoint(folder)
    for name in SERVING:
        shutil.copyfile(CARDS / name, adapter / name)
    return adapter


@contextmanager
def serving(folder: Path, home: Path, *options: str, **limits: Any) -> Iterator[tuple[str, int]]:
    """`python server.py` in a process without the package: its address, and its id."""
    home.mkdir(exist_ok=True)
    (home / "sitecustomize.py").write_text(HIDE_PACKAGE)
    environment = {
        **os.environ,
        **{name: str(value) for name, value in limits.items()},
        **{"HF_HUB_OFFLINE": "1", "HF_HOME": str(home), "OMP_NUM_THREADS": "1", "PYTHONPATH": str(home)},
    }
    command = [sys.executable, "server.py", "--host", "127.0.0.1", "--port", "0", *options]
    with open(home / "errors.txt", "w") as errors:
        process = subprocess.Popen(
            command, cwd=folder, env=environment, stdout=subprocess.PIPE, stderr=errors, text=True
        )
    try:
        assert process.stdout is not None
        line = process.stdout.readline()
        assert " at http://" in line, (home / "errors.txt").read_text()
        yield line.rpartition(" at ")[2].strip(), process.pid
        assert process.poll() is None, f"it ended: {(home / 'errors.txt').read_text()}"
    finally:
        process.kill()
        process.wait()


def ask(url: str, body: bytes | None = None, kind: str = "application/json", timeout: float = 60) -> tuple[int, Any]:
    """Status and JSON of an answer; GET without a body."""
    request = urllib.request.Request(url, data=body, headers={"Content-Type": kind} if body is not None else {})
    try:
        with urllib.request.urlopen(request, timeout=timeout) as response:
            return response.status, json.load(response)
    except urllib.error.HTTPError as error:
        with error:
            return error.code, json.load(error)


def ask_json(url: str, inputs: Any, timeout: float = 60, **parameters: Any) -> tuple[int, Any]:
    return ask(url, json.dumps({"inputs": inputs, "parameters": parameters}).encode(), timeout=timeout)


# The Hub's JSON schemas of `video-classification` (huggingface.js, packages/tasks/src/tasks/video-classification/spec)
# written down: names, and what JSON may hold there. `inputs` may be anything.
REQUIRED_OUTPUT = {"label": (str,), "score": (int, float)}
OPTIONAL_PARAMETERS = {
    "num_frames": (int,),
    "frame_sampling_rate": (int,),
    "top_k": (int,),
    "function_to_apply": (str,),
}
FUNCTIONS_TO_APPLY = ("sigmoid", "softmax", "none")


def assert_is_hub_output(answer: Any) -> None:
    """The Hub's output: an array of objects, which may have further fields; and its client reads it."""
    assert isinstance(answer, list)
    assert answer
    for entry in answer:
        assert isinstance(entry, dict)
        for name, types in REQUIRED_OUTPUT.items():
            assert type(entry[name]) in types
    read = VideoClassificationOutputElement.parse_obj_as_list(answer)
    assert [(each.label, each.score) for each in read] == [(entry["label"], entry["score"]) for entry in answer]


def assert_is_hub_input(request: Any) -> None:
    """The Hub's input: `inputs`, and `parameters` of which four have names and types there."""
    assert isinstance(request, dict)
    assert "inputs" in request
    parameters = request.get("parameters", {})
    assert isinstance(parameters, dict)
    for name, types in OPTIONAL_PARAMETERS.items():
        assert name not in parameters or type(parameters[name]) in types
    assert parameters.get("function_to_apply", "none") in FUNCTIONS_TO_APPLY
    VideoClassificationInput.parse_obj_as_instance(request)


def assert_is_error(answer: tuple[int, Any], *statuses: int) -> str:
    """The message of an answer that is an error of one of these statuses."""
    status, body = answer
    assert status in statuses, answer
    assert body.keys() == {"error", "status"}
    assert body["status"] == status
    return body["error"]


def peak_megabytes(pid: int) -> float:
    """The most memory that a process and those that it has started have had, added up."""

    def number(folder: Path, name: str) -> int:
        lines = (folder / "status").read_text().splitlines()
        return next((int(line.split()[1]) for line in lines if line.startswith(f"{name}:")), 0)

    total = 0
    for folder in Path("/proc").glob("[0-9]*"):
        try:
            if pid in (int(folder.name), number(folder, "PPid")):
                total += number(folder, "VmHWM")
        except OSError:  # noqa: PERF203
            continue  # it has ended
    return total / 1024
