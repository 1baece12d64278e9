"""The command line as a person meets it: exit codes, one line for an error, never a traceback."""

import subprocess
import sys

import pytest

import vita_clip_hf
from vita_clip_hf.cli import main

TINY_CLIP = "package://vita_clip_hf/demo/tiny_clip"


def test_help_names_every_command(capsys):
    with pytest.raises(SystemExit) as exit_info:
        main(["--help"])
    assert exit_info.value.code == 0
    printed = capsys.readouterr().out
    assert all(command in printed for command in ("demo", "predict", "convert"))


def test_the_module_runs_as_a_program():
    finished = subprocess.run(
        [sys.executable, "-m", "vita_clip_hf.cli", "predict", "--help"], capture_output=True, text=True, check=True
    )
    assert "--labels" in finished.stdout


def test_the_version_is_the_packages(capsys):
    with pytest.raises(SystemExit) as exit_info:
        main(["--version"])
    assert exit_info.value.code == 0
    assert capsys.readouterr().out == f"vita-clip-hf {vita_clip_hf.__version__}\n"


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["predcit", "clip.mp4"], "there is no command predcit; is predict meant?"),
        (["data", "chekc"], "there is no command chekc; is check meant?"),
        (["data", "check", "--num-worker", "2"], "there is no option --num-worker; is --num-workers meant?"),
        (["demo", "--qick"], "there is no option --qick; is --quick meant?"),
        (["--verson"], "there is no option --verson; is --version meant?"),
        (["predict", "--mod", "m", "clip.mp4"], "--model"),  # no abbreviation
    ],
)
def test_a_misspelt_word_is_answered_with_the_right_one(arguments, message, capsys):
    with pytest.raises(SystemExit) as exit_info:
        main(arguments)
    assert exit_info.value.code == 2
    assert message in capsys.readouterr().err


@pytest.mark.parametrize("command", [["data", "check", "list.csv"], ["convert", "a.pth", "--out", "b"], ["train"]])
def test_no_error_is_a_traceback_in_any_command(command, capsys, monkeypatch):
    def fail(*arguments, **settings):
        raise KeyError("lost")

    monkeypatch.setattr("vita_clip_hf.data.loading.read_listing", fail)
    monkeypatch.setattr("vita_clip_hf.convert.files.convert_checkpoint", fail)
    monkeypatch.setattr("vita_clip_hf.training.command.run_training", fail)
    arguments = [*command, "--train", "videos", "--output_dir", "out"] if command == ["train"] else command
    assert main(arguments) == 1
    assert f"vita-clip {command[0]}: unexpected KeyError: 'lost'. Set VITA_CLIP_DEBUG=1" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["no_such_file.mp4"], "no_such_file.mp4"),
        (["no_such_file.mp4", "--labels", "a", "a"], "distinct"),
        (["no_such_file.mp4", "--template", "a video"], "{}"),
    ],
)
def test_bad_input_is_one_clear_line_and_exit_code_1(arguments, message, capsys):
    labels = [] if "--labels" in arguments else ["--labels", "a circle", "a square"]
    assert main(["predict", "--model", TINY_CLIP, *arguments, *labels]) == 1
    error = capsys.readouterr().err.rstrip().splitlines()[-1]  # progress bars may stand before it
    assert error.startswith("vita-clip predict: ")
    assert message in error


def test_a_model_that_is_not_there_is_named(tmp_path, capsys):
    assert main(["predict", "--model", str(tmp_path / "nothing"), "video.mp4"]) == 1
    assert "nothing" in capsys.readouterr().err


def test_empty_and_wrong_files_are_errors_not_tracebacks(tmp_path, capsys):
    (tmp_path / "empty.mp4").touch()
    (tmp_path / "text.mp4").write_text("this is no video")
    videos = [str(tmp_path / "empty.mp4"), str(tmp_path / "text.mp4")]
    assert main(["predict", "--model", TINY_CLIP, "--labels", "a circle", "a square", "--", *videos]) == 1
    error = capsys.readouterr().err
    assert "empty.mp4" in error
    assert "text.mp4" in error
    assert "2 of 2 videos" in error


def test_converting_a_file_that_is_no_checkpoint_is_an_error(tmp_path, capsys):
    (tmp_path / "wrong.pth").write_text("no tensors here")
    command = ["convert", str(tmp_path / "wrong.pth"), "--base", TINY_CLIP, "--out", str(tmp_path / "out")]
    assert main(command) == 1
    assert "wrong.pth" in capsys.readouterr().err
    assert not (tmp_path / "out").exists()


def test_every_shared_video_gives_a_ranked_list_or_a_clear_error(shared_dir, capsys):
    videos = sorted(path for path in (shared_dir / "data" / "videos").iterdir() if path.suffix != ".md")
    unreadable = []
    for video in videos:
        code = main(["predict", "--model", TINY_CLIP, str(video), "--labels", "a red circle", "a blue square"])
        printed = capsys.readouterr()
        if code == 0:
            lines = printed.out.strip().splitlines()
            assert len(lines) == 2, video
            shares = [float(line.split("%")[0]) for line in lines]
            assert shares == sorted(shares, reverse=True)
        else:
            assert code == 1
            assert video.name in printed.err
            unreadable.append(video.name)
    assert unreadable == ["audio_only.mp3", "corrupted.mp4"]
