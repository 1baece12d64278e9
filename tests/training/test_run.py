"""`vita-clip train` and `examples/train.py`, from videos to an adapter that names what is in a file."""

import json
import shutil
import subprocess
import sys
import tarfile
from pathlib import Path
from types import SimpleNamespace

import pytest
import torch
import yaml
from bad_videos import REASONS, break_videos, write_motion_shapes
from safetensors.torch import load_file
from toy_training import TINY
from vita_clip_hf.modeling.configuration_vita_clip import PROMPT_FIELDS

from vita_clip_hf import VitaClipConfig, VitaClipModel
from vita_clip_hf.cli import main as cli
from vita_clip_hf.data import load_videos
from vita_clip_hf.training.command import parse, read_settings
from vita_clip_hf.training.run import check_processes, find_resume_point
from vita_clip_hf.training.skipped_videos import REPORT

EXAMPLES = Path(__file__).parents[2] / "examples"
SMALL = [*TINY, "--num_frames", "2", "--sampling", "uniform", "--temporal_views", "1", "--logging_steps", "1"]
SMALL += ["--per_device_train_batch_size", "4"]


RESUME = ("--resume_from_checkpoint", "auto")


@pytest.fixture(scope="module")
def videos(tmp_path_factory) -> Path:
    return write_motion_shapes(tmp_path_factory.mktemp("motion_shapes"), 28)


def train(*arguments: str) -> int:
    return cli(["train", *SMALL, *map(str, arguments)])


def test_a_list_of_videos_becomes_an_adapter_that_names_the_action(videos, tmp_path, capsys):
    folder = tmp_path / "adapter"
    zero_shot = f"again={videos}"
    arguments = ("--train", videos, "--validation", videos, "--eval_zero_shot", zero_shot, "--output_dir", folder)
    assert train(*arguments, "--max_steps", "3") == 0
    printed = capsys.readouterr().out
    figures = json.loads((folder / "all_results.json").read_text())
    assert 0 <= figures["eval_top_1"] <= figures["eval_top_5"] <= 1
    assert {"eval_again_top_1", "eval_again_top_5", "eval_loss", "train_loss"} <= figures.keys()
    assert "eval_again_top_1" in printed
    assert (folder / "adapter_model.safetensors").is_file()
    assert not (folder / "model.safetensors").exists()
    video = load_videos(videos)["video"][0]
    assert cli(["predict", "--model", str(folder), video]) == 0
    best = capsys.readouterr().out.splitlines()[0]
    assert any(name in best for name in load_videos(videos).features["label"].names)


def test_a_run_goes_on_from_its_last_checkpoint(videos, tmp_path):
    whole, halves = tmp_path / "whole", tmp_path / "halves"
    saving = ("--train", videos, "--save_strategy", "steps", "--save_steps", "2", "--max_steps", "4")
    assert train(*saving, "--output_dir", whole) == 0
    assert train(*saving, "--output_dir", halves, "--resume_from_checkpoint", "auto") == 0  # nothing there: it starts
    for name in ("adapter_model.safetensors", "checkpoint-4/optimizer.pt"):
        (halves / name).unlink()
    assert train(*saving, "--output_dir", halves, "--resume_from_checkpoint", "auto") == 0
    expected, found = (load_file(folder / "adapter_model.safetensors") for folder in (whole, halves))
    assert all(torch.equal(expected[name], found[name]) for name in expected)


def test_an_output_folder_with_checkpoints_is_not_overwritten(videos, tmp_path, capsys):
    saving = ("--train", videos, "--output_dir", tmp_path, "--save_steps", "1", "--max_steps", "1")
    assert train(*saving) == 0
    assert train(*saving) == 1
    assert "--resume_from_checkpoint auto" in capsys.readouterr().err
    _, _, args = parse(["--train", "x", "--output_dir", str(tmp_path), "--resume_from_checkpoint", "auto"], "train")
    assert find_resume_point(args) == str(tmp_path / "checkpoint-1")


def test_a_run_on_a_base_in_bfloat16_ends_with_an_adapter_in_float32(videos, tmp_path):
    arguments = ("--train", videos, "--validation", videos, "--max_steps", "2", "--output_dir", tmp_path)
    assert train(*arguments, "--base_dtype", "bfloat16", "--bf16") == 0
    adapter = load_file(tmp_path / "adapter_model.safetensors")
    assert {tensor.dtype for tensor in adapter.values()} == {torch.float32}
    assert VitaClipModel.from_pretrained(tmp_path).visual_projection.weight.dtype == torch.float32


@pytest.fixture(scope="module")
def finished(videos, tmp_path_factory) -> Path:
    """A run of one epoch, 7 steps."""
    folder = tmp_path_factory.mktemp("finished")
    assert train("--train", videos, "--output_dir", folder, "--num_train_epochs", "1") == 0
    return folder


def copy_list(videos: Path, folder: Path, names: list[str]) -> Path:
    """The list with other class names."""
    rows = [f"{videos.parent / line}" for line in videos.read_text().splitlines()]
    folder.mkdir(exist_ok=True)
    (folder / "list.csv").write_text("\n".join(rows))
    (folder / "list.classes.txt").write_text("\n".join(names))
    return folder / "list.csv"


@pytest.mark.parametrize(
    ("more", "message"),
    [
        (("--text_prompt_position", "front"), "was trained with text_config.text_prompt_position 'end', and this"),
        (("--local_prompt_condition", "class_token"), "vision_config.local_prompt_condition 'projection'"),
        (("--num_frames", "3"), "vision_config.num_frames 2, and this training has 3"),
    ],
)
def test_a_run_does_not_go_on_with_other_prompts(finished, videos, capsys, more, message):
    before = (finished / "config.json").read_bytes()
    assert train("--train", videos, "--output_dir", finished, "--num_train_epochs", "1", *RESUME, *more) == 1
    assert message in capsys.readouterr().err
    assert (finished / "config.json").read_bytes() == before


def test_a_run_does_not_go_on_with_as_many_other_classes(finished, videos, tmp_path, capsys):
    other = copy_list(videos, tmp_path, ["swimming", "running", "eating", "waving"])
    assert train("--train", other, "--output_dir", finished, "--max_steps", "9", *RESUME) == 1
    assert "was trained on other classes than this training has: 'swimming' where it has" in capsys.readouterr().err


def test_a_run_that_goes_on_with_other_clips_says_so(finished, videos, tmp_path, caplog):
    folder = tmp_path / "copy"
    shutil.copytree(finished, folder)
    arguments = ("--train", videos, "--output_dir", folder, "--max_steps", "8", *RESUME)
    assert train(*arguments, "--sampling", "dense", "--sampling_stride", "2") == 0
    assert "was trained on clips of 2 frames uniform; from here on they are 2 frames strided, 2 apart" in caplog.text


def test_a_finished_run_of_epochs_keeps_its_figures(finished, videos, tmp_path, capsys):
    folder = tmp_path / "copy"
    shutil.copytree(finished, folder)
    assert train("--train", videos, "--output_dir", folder, "--num_train_epochs", "1", *RESUME) == 0
    assert "train_loss" not in capsys.readouterr().out  # it would be 0, of no steps
    weights = [load_file(place / "adapter_model.safetensors") for place in (finished, folder)]
    assert all(torch.equal(weights[0][name], weights[1][name]) for name in weights[0])


def test_a_checkpoint_that_is_not_there_is_said_to_be_missing(videos, tmp_path, capsys):
    arguments = ("--train", videos, "--output_dir", tmp_path / "out")
    assert train(*arguments, "--resume_from_checkpoint", tmp_path / "gone") == 1
    assert "there is no such folder; auto is the newest whole checkpoint" in capsys.readouterr().err


def test_one_class_is_nothing_to_learn(videos, tmp_path, capsys):
    one = copy_list(videos, tmp_path / "one", ["moving"])
    one.write_text("\n".join(line.rpartition(",")[0] + ",0" for line in one.read_text().splitlines()))
    assert train("--train", one, "--output_dir", tmp_path / "out") == 1
    assert "has one class, 'moving', and there is nothing to tell it from" in capsys.readouterr().err


def test_classes_without_videos_are_told(videos, tmp_path, caplog):
    names = load_videos(videos).features["label"].names
    more = copy_list(videos, tmp_path / "more", [*names, "swimming"])
    assert train("--train", more, "--output_dir", tmp_path / "out", "--max_steps", "1") == 0
    assert "1 of 5 classes have no video to train on: 'swimming'." in caplog.text


def test_a_run_without_a_step_saves_nothing(videos, tmp_path, capsys):
    arguments = ("--train", videos, "--output_dir", tmp_path, "--per_device_train_batch_size", "100")
    assert train(*arguments, "--dataloader_drop_last", "True", "--num_train_epochs", "1") == 1
    assert "28 clips make no batch of 100, and dataloader_drop_last leaves out what is less" in capsys.readouterr().err
    assert not (tmp_path / "adapter_model.safetensors").exists()


def test_a_base_that_others_cannot_load_is_found_before_the_training(videos, finished, tmp_path, capsys):
    base = ("--base", Path(cli.__globals__["__file__"]).parent / "demo" / "tiny_clip")
    assert train("--train", videos, "--output_dir", tmp_path, "--push_to_hub", *base) == 1
    assert "a folder of this machine or an address: nobody could load it" in capsys.readouterr().err
    assert not list(tmp_path.glob("checkpoint-*"))


def test_an_evaluation_that_meets_a_bad_video_loses_no_step(videos, tmp_path, capsys):
    bad = copy_list(videos, tmp_path / "bad", load_videos(videos).features["label"].names)
    lines = bad.read_text().splitlines()[:4]
    (tmp_path / "bad" / "empty.mp4").write_bytes(b"")
    bad.write_text("\n".join([*lines, "empty.mp4,0"]))
    arguments = ("--train", videos, "--validation", bad, "--output_dir", tmp_path / "out", "--num_train_epochs", "2")
    assert train(*arguments) == 1
    error = capsys.readouterr().err
    assert "empty.mp4: is empty (0 bytes). '--on_bad_video skip' goes on without it, and `vita-clip data" in error
    assert f"'--resume_from_checkpoint auto' goes on from {tmp_path / 'out' / 'checkpoint-7'}." in error
    assert train(*arguments, *RESUME, "--on_bad_video", "skip") == 0
    assert json.loads((tmp_path / "out" / "eval_results.json").read_text())["eval_unreadable_videos"] == 1


def test_bad_videos_are_skipped_and_named(tmp_path_factory, tmp_path, capsys):
    broken = write_motion_shapes(tmp_path_factory.mktemp("broken"))
    names = break_videos(broken)["video"]
    arguments = ("--train", broken, "--num_train_epochs", "1", "--output_dir")
    assert train(*arguments, tmp_path / "skip", "--on_bad_video", "skip", "--max_bad_videos", "0.06") == 0
    report = json.loads((tmp_path / "skip" / REPORT).read_text())
    assert {entry["video"]: entry["reason"] for entry in report}.keys() == {names[index] for index in REASONS}
    assert train(*arguments, tmp_path / "stop", "--on_bad_video", "skip") == 1
    assert "more than the share of 1.0%" in capsys.readouterr().err
    assert train(*arguments, tmp_path / "raise") == 1
    error = capsys.readouterr().err
    assert any(Path(names[index]).name in error for index in REASONS)


def test_shards_are_streamed(videos, tmp_path):
    rows = load_videos(videos)
    for shard in range(2):
        with tarfile.open(tmp_path / f"{shard}.tar", "w") as tar:
            for index in range(shard, 16, 2):
                label = tmp_path / "label"
                label.write_text(str(rows[index]["label"]))
                tar.add(rows[index]["video"], f"{index:04d}.mp4")
                tar.add(label, f"{index:04d}.cls")
    names = tmp_path / "names.txt"
    names.write_text("\n".join(rows.features["label"].names))
    arguments = ("--train", tmp_path / "*.tar", "--class_names", names, "--streaming", "--shuffle_buffer", "4")
    saving = ("--save_strategy", "steps", "--save_steps", "6", "--gradient_accumulation_steps", "3")
    # 16 clips are less than two steps: the stream begins again, within a step, and a resumed run finds its place.
    assert train(*arguments, *saving, "--max_steps", "8", "--output_dir", tmp_path / "out") == 0
    whole = load_file(tmp_path / "out" / "adapter_model.safetensors")
    shutil.rmtree(tmp_path / "out" / "checkpoint-8")
    assert train(*arguments, *saving, "--max_steps", "8", "--output_dir", tmp_path / "out", *RESUME) == 0
    resumed = load_file(tmp_path / "out" / "adapter_model.safetensors")
    assert all(torch.equal(whole[name], resumed[name]) for name in whole)


def test_the_example_is_the_same_program(videos, tmp_path):
    command = [sys.executable, str(EXAMPLES / "train.py"), *SMALL, "--max_steps", "1", "--train", str(videos)]
    done = subprocess.run([*command, "--output_dir", str(tmp_path)], capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stderr
    assert (tmp_path / "adapter_model.safetensors").is_file()


# ---- settings ----


@pytest.mark.parametrize("path", sorted((EXAMPLES / "configs").glob("*.yaml")), ids=lambda path: path.stem)
def test_every_configuration_is_understood(path):
    model, data, args = parse([str(path), "--use_cpu", "--bf16", "False"], "train")
    settings = yaml.safe_load(path.read_text())
    assert data.train == settings["train"]
    assert model.base == settings["base"]
    assert args.output_dir == settings["output_dir"]
    assert args.max_steps == settings.get("max_steps", -1)
    assert args.learning_rate == settings["learning_rate"]


@pytest.mark.parametrize("path", sorted((EXAMPLES / "accelerate").glob("*.yaml")), ids=lambda path: path.stem)
def test_every_accelerate_configuration_is_understood(path):
    from accelerate.commands.config.config_args import load_config_from_file

    config = load_config_from_file(str(path))
    assert config.num_processes == yaml.safe_load(path.read_text())["num_processes"]
    layers = getattr(config, "fsdp_config", {}).get("fsdp_transformer_layer_cls_to_wrap", "")
    with torch.device("meta"):
        classes = {type(module).__name__ for module in VitaClipModel(VitaClipConfig()).modules()}
    assert {name for name in layers.split(",") if name} <= classes


def test_processes_that_do_not_know_each_other_are_an_error(monkeypatch):
    check_processes(SimpleNamespace(world_size=1))
    monkeypatch.setenv("WORLD_SIZE", "2")
    check_processes(SimpleNamespace(world_size=2))
    with pytest.raises(ValueError, match=r"2 processes were started.*--use_cpu"):
        check_processes(SimpleNamespace(world_size=1))


def test_zero_shot_sets_need_no_validation(videos, tmp_path):
    zero_shot = ("--eval_zero_shot", f"again={videos}")
    assert train("--train", videos, *zero_shot, "--max_steps", "1", "--output_dir", tmp_path) == 0
    assert "eval_again_top_1" in json.loads((tmp_path / "all_results.json").read_text())


def test_the_command_line_overrules_the_file(tmp_path):
    path = tmp_path / "settings.yaml"
    path.write_text("train: a.csv\nlearning_rate: 0.1\nnum_frames: 16\noutput_dir: out\n")
    model, data, args = parse([str(path), "--learning_rate", "0.2", "--num_global_prompts", "4"], "train")
    assert (data.train, data.num_frames, args.learning_rate) == ("a.csv", 16, 0.2)
    assert model.num_global_prompts == 4


def test_prompts_default_to_the_configurations():
    model, _, _ = parse(["--train", "a", "--output_dir", "b"], "train")
    config = VitaClipConfig()
    fields = model.prompt_fields()
    assert fields.keys() | {"num_frames"} == set(PROMPT_FIELDS)  # --num_frames is among the data's
    assert fields == {name: getattr(config, name) for name in fields}


def test_json_settings_are_read(tmp_path):
    path = tmp_path / "settings.json"
    path.write_text(json.dumps({"train": "a.csv", "output_dir": "out"}))
    assert parse([str(path)], "train")[1].train == "a.csv"


def test_epochs_that_are_asked_for_are_not_overruled_by_the_recipes_steps():
    asked = parse(["--train", "a", "--output_dir", "b", "--num_train_epochs", "2"], "train")[2]
    assert (asked.max_steps, asked.num_train_epochs) == (-1, 2)
    assert parse(["--train", "a", "--output_dir", "b"], "train")[2].max_steps == 30_000
    file = str(EXAMPLES / "configs" / "motion_shapes.yaml")
    assert parse([file, "--num_train_epochs", "2"], "train")[2].max_steps == -1
    assert parse([file, "--num_train_epochs", "2", "--max_steps", "5"], "train")[2].max_steps == 5


@pytest.mark.parametrize(
    ("text", "message"),
    [("trian: a.csv", "'train' meant"), ("- a\n- b", "holds a list"), ("a: [", "cannot be read"), ("{", "cannot be")],
)
def test_settings_that_make_no_sense_are_named(tmp_path, text, message):
    path = tmp_path / "settings.yaml"
    path.write_text(text)
    with pytest.raises(ValueError, match=message):
        read_settings(path, ["train", "validation"])


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--output_dir", "x"], "nothing to train on"),
        (["--train", "no_such_list.csv", "--output_dir", "x"], "no_such_list.csv"),
        (["no_such.yaml"], "no_such.yaml"),
        (["--train", "a", "--output_dir", "x", "--sampling", "tns"], "dense, tsn, uniform"),
        (["--train", "a", "--output_dir", "x", "--base_dtype", "int8"], "one of float32, bfloat16"),
        (["--train", "a", "--output_dir", "x", "--eval_zero_shot", "ucf"], "NAME=LIST"),
    ],
)
def test_bad_input_is_one_line_and_exit_code_1(capsys, tmp_path, monkeypatch, arguments, message):
    monkeypatch.chdir(tmp_path)
    assert train_bare(arguments) == 1
    error = capsys.readouterr().err.strip()
    assert message in error
    assert "Traceback" not in error


def train_bare(arguments: list[str]) -> int:
    return cli(["train", *arguments])


def test_validation_of_other_classes_is_an_error(videos, tmp_path, capsys):
    other = tmp_path / "other.csv"
    other.write_text(videos.read_text())
    (tmp_path / "other.classes.txt").write_text("\n".join(reversed(load_videos(videos).features["label"].names)))
    assert train("--train", videos, "--validation", other, "--output_dir", tmp_path / "out", "--max_steps", "1") == 1
    assert "has other classes than" in capsys.readouterr().err


def test_help_teaches_and_hides_what_few_need(capsys):
    for flag, is_shown in (("--help", False), ("--help-all", True)):
        with pytest.raises(SystemExit) as left:
            cli(["train", flag])
        assert left.value.code == 0
        text = capsys.readouterr().out
        assert "A folder with one folder of videos for each class is enough" in " ".join(text.split())
        assert "--train" in text
        words = " ".join(text.split())
        assert "when --validation is evaluated (default: after each epoch" in words
        assert "--no_augment, --no-augment switches --augment off --rand_augment" in words
        assert ("--adam_beta1" in text) == is_shown
