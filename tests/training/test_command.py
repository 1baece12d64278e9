"""What a person types: settings that make no sense are refused by name, before anything is loaded."""

import json
import os
import signal
from pathlib import Path

import pytest
import yaml
from bad_videos import write_motion_shapes
from toy_training import TINY
from transformers import TrainerCallback

from vita_clip_hf.cli import main as cli
from vita_clip_hf.data import load_videos
from vita_clip_hf.training import clip_sets, command
from vita_clip_hf.training.command import parse
from vita_clip_hf.training.options import DataOptions
from vita_clip_hf.training.skipped_videos import REPORT

GIVEN = ["--train", "a", "--output_dir", "x"]


@pytest.fixture(scope="module")
def videos(tmp_path_factory) -> Path:
    return write_motion_shapes(tmp_path_factory.mktemp("motion_shapes"), 16)


@pytest.fixture
def nothing_is_loaded(monkeypatch):
    def refuse(*args, **kwargs):
        raise AssertionError("videos were looked for before the settings were checked")

    monkeypatch.setattr(clip_sets, "load_videos", refuse)


def error_of(capsys, *arguments: str) -> str:
    assert cli(["train", *map(str, arguments)]) == 1
    error = capsys.readouterr().err
    assert "Traceback" not in error
    return error


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--trian", "x"], "no setting --trian; is --train meant?"),
        (["--output-dri", "x"], "is --output_dir meant?"),
        (["--model", "x"], "no setting --model; is --base meant?"),  # as other commands call it
        (["--batch-size", "1"], "is --per_device_train_batch_size meant?"),
        (["--learning", "1"], "no setting --learning; is --learning_rate meant?"),  # no abbreviations
        (["--epoch", "3"], "is --num_train_epochs meant?"),
        (["--val", "x"], "is --validation meant?"),
        (["--views", "3"], "is --temporal_views meant?"),
        (["-lr", "1"], "no setting -lr; is --learning_rate meant?"),
        (["--wandb"], "no setting --wandb. --help-all shows all."),
        (["."], ". is no file of settings (YAML or JSON)"),
        ([*GIVEN, "--load_best_model_at_end"], "load_best_model_at_end needs evaluations"),
        (
            [*GIVEN, "--validation", "b", "--load_best_model_at_end", "--eval_steps", "5", "--save_strategy", "epoch"],
            "eval_strategy is 'steps' and save_strategy 'epoch'",
        ),
        ([*GIVEN, "--validation", "b", "--save_strategy", "best"], "give --validation and --metric_for_best_model"),
        ([*GIVEN, "--profile_steps", "5", "--max_steps", "10"], "the first 10 steps are not profiled"),
        (["--train", "a", "b"], "'b' belongs to no setting"),
        (["--train", "a"], "give --output_dir"),
        ([*GIVEN, "--max_steps", "0"], "max_steps is 0"),
        ([*GIVEN, "--max_steps", "-2"], "max_steps is -2; expected a whole number at least -1"),
        ([*GIVEN, "--num_train_epochs", "0"], "num_train_epochs is 0"),
        ([*GIVEN, "--num_train_epochs", "nan"], "num_train_epochs is nan"),
        ([*GIVEN, "--num_frames", "0"], "num_frames is 0; expected a whole number at least 1"),
        ([*GIVEN, "--temporal_views", "0"], "temporal_views is 0"),
        ([*GIVEN, "--spatial_views", "-1"], "spatial_views is -1"),
        ([*GIVEN, "--sampling_stride", "0"], "sampling_stride is '0'"),
        ([*GIVEN, "--sampling_stride", "atuo"], "or 'auto'"),
        ([*GIVEN, "--sampling_stride", "auto", "--sampling", "tsn"], "clips of the sampling 'tsn' have no stride"),
        ([*GIVEN, "--shuffle_buffer", "0"], "shuffle_buffer is 0"),
        ([*GIVEN, "--crop_scale_min", "2"], "crop_scale_min is 2.0; expected a number more than 0 and at most 1"),
        ([*GIVEN, "--crop_scale_min", "0"], "crop_scale_min is 0.0"),
        ([*GIVEN, "--erasing_probability", "-1"], "erasing_probability is -1.0"),
        ([*GIVEN, "--seed", "-1"], "seed is -1"),
        ([*GIVEN, "--seed", "4294967296"], "seed is 4294967296"),
        ([*GIVEN, "--dataloader_num_workers", "-1"], "dataloader_num_workers is -1"),
        ([*GIVEN, "--per_device_train_batch_size", "0"], "per_device_train_batch_size is 0"),
        ([*GIVEN, "--gradient_accumulation_steps", "0"], "gradient_accumulation_steps is 0"),
        ([*GIVEN, "--profile_steps", "-3"], "profile_steps is -3; expected a whole number at least 0"),
        ([*GIVEN, "--early_stopping_patience", "-1"], "early_stopping_patience is -1"),
        ([*GIVEN, "--ema_decay", "1.5"], "ema_decay is 1.5"),
        ([*GIVEN, "--max_bad_videos", "1.5"], "max_bad_videos is 1.5"),
        ([*GIVEN, "--label_smoothing_factor", "2"], "label_smoothing_factor is 2"),
        ([*GIVEN, "--learning_rate", "-1"], "learning_rate is -1"),
        ([*GIVEN, "--learning_rate", "inf"], "learning_rate is inf"),
        ([*GIVEN, "--save_total_limit", "0"], "save_total_limit is 0"),
        ([*GIVEN, "--save_steps", "-5"], "save_steps is -5"),
        ([*GIVEN, "--early_stopping_patience", "2"], "nothing is evaluated in the course of the training"),
        (
            [*GIVEN, "--validation", "b", "--early_stopping_patience", "2"],
            "give --metric_for_best_model, such as eval_top_1",
        ),
        (
            [*GIVEN, "--validation", "b", "--eval_strategy", "no", "--early_stopping_patience", "2"],
            "nothing is evaluated",
        ),
        ([*GIVEN, "--eval_strategy", "epoch"], "give --validation"),
        ([*GIVEN, "--validation", "b", "--metric_for_best_model", "top1"], "eval_top_1"),
        ([*GIVEN, "--report_to", "tensorbord"], "is 'tensorboard' meant?"),
        ([*GIVEN, "--report_to", "none", "tensorbord"], "is 'tensorboard' meant?"),
        ([*GIVEN, "--eval_zero_shot", "u=l,rooot=x"], "is 'root' meant?"),
    ],
)
@pytest.mark.usefixtures("nothing_is_loaded")
def test_a_setting_that_makes_no_sense_is_named(capsys, tmp_path, monkeypatch, arguments, message):
    monkeypatch.chdir(tmp_path)
    assert message in error_of(capsys, *arguments)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.usefixtures("nothing_is_loaded")
def test_a_tracker_that_is_not_installed_is_named_with_the_command_that_installs_it(capsys, monkeypatch, tmp_path):
    monkeypatch.setattr("vita_clip_hf.training.settings_check.get_available_reporting_integrations", lambda: [])
    arguments = ("--train", "a", "--output_dir", tmp_path)
    for name, package in (("tensorboard", "'vita-clip-hf[tracking]'"), ("wandb", "wandb"), ("comet_ml", "comet-ml")):
        assert f"pip install {package}" in error_of(capsys, *arguments, "--report_to", name)


@pytest.mark.parametrize("value", ["", None])
def test_the_output_folder_may_stand_in_the_file_and_must_be_somewhere(tmp_path, value):
    path = tmp_path / "settings.yaml"
    path.write_text(yaml.safe_dump({"train": "a", "output_dir": "out"}))
    assert parse([str(path)], "train")[2].output_dir == "out"
    path.write_text(yaml.safe_dump({"train": "a", "output_dir": value}))
    with pytest.raises(ValueError, match="give --output_dir"):
        parse([str(path)], "train")


def test_numbers_of_a_file_are_numbers(tmp_path):
    path = tmp_path / "settings.yaml"
    path.write_text("train: a\noutput_dir: out\nlearning_rate: 4e-4\nsampling_stride: 8\neval_zero_shot: u=l\n")
    _, data, args = parse([str(path)], "train")  # YAML 1.1 reads 4e-4 as text
    assert (args.learning_rate, data.stride(), data.eval_zero_shot) == (4e-4, 8, ["u=l"])
    path.write_text("train: a\noutput_dir: out\nnum_frames: 8.5\n")
    with pytest.raises(ValueError, match=r"num_frames is 8.5; expected a whole number"):
        parse([str(path)], "train")


def test_words_of_a_file_that_yaml_takes_for_something_else_are_meant_as_on_the_command_line(tmp_path):
    path = tmp_path / "settings.yaml"
    text = "train: 2024\noutput_dir: out\nvalidation: b\neval_strategy: no\nsave_strategy: off\n"
    path.write_text(text, encoding="utf-16")
    _, data, args = parse([str(path)], "train")
    assert (data.train, args.eval_strategy, args.save_strategy) == ("2024", "no", "no")


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("train: a\ntrain: b", r"'train' stands there twice"),
        ("train: [a, b]", r"train is \['a', 'b'\]; expected one value"),
        ("train: a\neval_zero_shot: {u: l}", r"expected a list of texts NAME=LIST"),
        ("help: true", r"no setting 'help'"),
        ("1: a", r"no setting 1"),
        ("", r"holds nothing"),
    ],
)
def test_a_file_of_settings_that_makes_no_sense_is_named(tmp_path, text, message):
    path = tmp_path / "settings.yaml"
    path.write_text(f"{text}\n")
    with pytest.raises(ValueError, match=message):
        parse([str(path), "--output_dir", "out"], "train")


def test_a_file_of_json_has_each_setting_once(tmp_path):
    path = tmp_path / "settings.json"
    path.write_text('{"train": "a", "train": "b", "output_dir": "out"}')
    with pytest.raises(ValueError, match="'train' stands there twice"):
        parse([str(path)], "train")


@pytest.mark.parametrize(
    ("more", "strategy", "steps"),
    [
        ([], "epoch", None),
        (["--eval_strategy", "no"], "no", None),
        (["--eval_steps", "7"], "steps", 7),
        (["--load_best_model_at_end", "--save_steps", "50"], "steps", 50),
        (["--load_best_model_at_end", "--save_strategy", "epoch"], "epoch", None),
    ],
)
def test_each_epoch_is_evaluated_unless_something_else_is_chosen(more, strategy, steps):
    _, _, args = parse([*GIVEN, "--validation", "b", *more], "train")
    assert args.eval_strategy == strategy
    assert args.eval_steps == steps


def test_without_a_validation_set_nothing_is_evaluated_in_between():
    assert parse(GIVEN, "train")[2].eval_strategy == "no"


def test_the_loss_is_shown_from_the_first_steps():
    _, _, args = parse(GIVEN, "train")
    assert (args.logging_first_step, args.logging_steps) == (True, 10)


def test_a_stream_in_epochs_is_refused_and_evaluated_by_steps(videos, tmp_path, capsys):
    stream = ("--train", videos, "--streaming", "--output_dir", tmp_path)
    assert "a stream has no length" in error_of(capsys, *TINY, *stream, "--num_train_epochs", "2")
    assert "a stream has no epochs" in error_of(capsys, *TINY, *stream, "--save_strategy", "epoch")
    _, _, args = parse([*map(str, stream), "--validation", "b", "--max_steps", "50"], "train")
    clip_sets.fit_to_stream(iter([]), args)
    assert (args.eval_strategy, args.eval_steps) == ("steps", 5)


def test_an_error_is_shown_whole_if_it_is_asked_for(monkeypatch, capsys):
    monkeypatch.setenv("VITA_CLIP_DEBUG", "1")
    assert command.main(["--trian", "x"], "train") == 1
    assert "Traceback" in capsys.readouterr().err


# ---- a whole run ----

SMALL = (*TINY, "--num_frames", "2", "--sampling", "uniform", "--temporal_views", "1", "--augment", "False")
SMALL += ("--per_device_train_batch_size", "4")


def test_a_run_says_where_its_adapter_is_and_evaluates_the_last_step_once(videos, tmp_path, capsys):
    folder = tmp_path / "my adapter"
    data = (
        "--train",
        str(videos),
        "--validation",
        str(videos),
        "--output_dir",
        str(folder),
        "--num_train_epochs",
        "2",
    )
    zero_shot = (
        "--eval_zero_shot",
        f"same={videos},classes={videos.with_suffix('.classes.txt')},root={videos.parent}",
    )
    assert cli(["train", *SMALL, *data, *zero_shot]) == 0
    printed = capsys.readouterr().out
    assert printed.endswith(f"Saved to {folder}. Try: vita-clip predict --model '{folder}' VIDEO\n")
    assert printed.count("{'loss'") == 1  # of 8 steps: the first
    figures = json.loads((folder / "all_results.json").read_text())
    assert {"eval_top_1", "eval_same_top_1", "train_loss"} <= figures.keys()
    log = json.loads((folder / "trainer_state.json").read_text())["log_history"]
    assert [entry["epoch"] for entry in log if "eval_loss" in entry] == [1, 2]
    last = [entry for entry in log if entry["step"] == 8]
    assert figures["eval_top_1"] == next(entry["eval_top_1"] for entry in last if "eval_top_1" in entry)


def test_missing_files_of_any_list_are_found_before_the_first_step(videos, tmp_path, capsys):
    listed = videos.read_text().splitlines()
    (tmp_path / "val.csv").write_text("\n".join([*listed[:3], "gone.mp4,0"]))
    classes = f"classes={videos.with_suffix('.classes.txt')}"
    arguments = ("--train", videos, "--output_dir", tmp_path / "out", "--max_steps", "1")
    zero_shot = ("--eval_zero_shot", f"other={tmp_path / 'val.csv'},root={videos.parent},{classes}")
    error = error_of(capsys, *SMALL, *arguments, *zero_shot)
    assert "eval_zero_shot other: 1 of 4 videos are not there: " in error
    assert "gone.mp4" in error
    assert "'--on_bad_video skip'" in error
    assert "`vita-clip data check`" in error


class Unlink(TrainerCallback):
    """Deletes videos after the first step."""

    def __init__(self, paths):
        self.paths = paths

    def on_step_end(self, args, state, control, **kwargs):
        for path in self.paths:
            path.unlink(missing_ok=True)


@pytest.mark.parametrize("workers", ["0", "1"])
def test_a_video_deleted_in_the_course_of_a_training_is_named_or_skipped(tmp_path, capsys, monkeypatch, workers):
    videos = write_motion_shapes(tmp_path / "videos", 16)
    gone = [Path(path) for path in load_videos(videos)["video"][:6]]
    contents = [path.read_bytes() for path in gone]
    build = command.run_training.__globals__["build_trainer"]

    def build_and_unlink(*args):
        trainer, *rest = build(*args)
        trainer.add_callback(Unlink(gone))
        return trainer, *rest

    monkeypatch.setitem(command.run_training.__globals__, "build_trainer", build_and_unlink)
    arguments = (*SMALL, "--train", videos, "--num_train_epochs", "3", "--dataloader_num_workers", workers)
    arguments += ("--save_strategy", "no", "--output_dir")
    error = error_of(capsys, *arguments, tmp_path / "raise")
    assert any(path.name in error for path in gone)
    assert "No such file" in error or "no such file" in error
    for path, content in zip(gone, contents, strict=True):
        path.write_bytes(content)
    assert (
        cli(
            [
                "train",
                *map(str, arguments),
                str(tmp_path / "skip"),
                "--on_bad_video",
                "skip",
                "--max_bad_videos",
                "0.5",
            ]
        )
        == 0
    )
    skipped = {entry["video"] for entry in json.loads((tmp_path / "skip" / REPORT).read_text())}
    assert skipped == {str(path) for path in gone}


class KillWorker(TrainerCallback):
    """Kills a process that reads videos, as a machine without memory does."""

    def on_step_end(self, args, state, control, **kwargs):
        children = Path(f"/proc/{os.getpid()}/task/{os.getpid()}/children").read_text().split()
        for child in children:
            os.kill(int(child), signal.SIGKILL)


@pytest.mark.skipif(not Path("/proc/self/task").is_dir(), reason="finds the workers by /proc")
def test_a_killed_worker_is_an_error_with_the_remedy(videos, tmp_path, capsys, monkeypatch):
    build = command.run_training.__globals__["build_trainer"]

    def build_and_kill(*args):
        trainer, *rest = build(*args)
        trainer.add_callback(KillWorker())
        return trainer, *rest

    monkeypatch.setitem(command.run_training.__globals__, "build_trainer", build_and_kill)
    arguments = (*SMALL, "--train", videos, "--max_steps", "50", "--dataloader_num_workers", "1")
    error = error_of(capsys, *arguments, "--save_strategy", "no", "--output_dir", tmp_path)
    assert "A process that reads videos was ended from outside" in error
    assert "--dataloader_num_workers" in error


def test_options_of_python_are_checked_alike():
    with pytest.raises(ValueError, match="num_frames is '8'"):
        DataOptions(train="a", num_frames="8")
    assert DataOptions(train="a", sampling_stride=4).stride() == 4
