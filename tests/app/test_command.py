"""`vita-clip app`: its help, and what it says when something is missing."""

import subprocess
import sys

import pytest
from absent import without

from vita_clip_hf.app.launch import find_examples
from vita_clip_hf.cli import build_parser, main


def test_help_teaches(capsys):
    with pytest.raises(SystemExit):
        main(["app", "--help"])
    printed = capsys.readouterr().out
    for words in (
        "--model MODEL",
        "127.0.0.1",
        "--share",
        "vita-clip app --model my_adapter",
        "VITA_CLIP_MAX_WINDOWS",
    ):
        assert words in printed


def test_it_is_for_this_machine_alone_by_default():
    options = build_parser().parse_args(["app", "--model", "a", "b"])
    assert (options.host, options.share, options.model) == ("127.0.0.1", False, ["a", "b"])


def test_without_gradio_it_says_what_to_install():
    code = without("gradio") + "from vita_clip_hf.cli import main; sys.exit(main(['app', '--model', 'nothing']))"
    finished = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=600, check=False)
    assert finished.returncode == 1
    assert finished.stderr.strip() == "vita-clip app: The app needs Gradio: pip install 'vita-clip-hf[app]'."


def test_examples_are_those_of_adapters_and_those_that_are_named(tmp_path):
    for name in ("adapter/example.mp4", "clips/a.mp4", "clips/notes.txt"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).touch()
    found = find_examples([tmp_path / "adapter", "user/other"], [str(tmp_path / "clips")])
    assert [path.relative_to(tmp_path.resolve()).as_posix() for path in found] == [
        "adapter/example.mp4",
        "clips/a.mp4",
    ]
    with pytest.raises(FileNotFoundError, match=r"nothing\.mp4: no such file"):
        find_examples([], [str(tmp_path / "nothing.mp4")])
