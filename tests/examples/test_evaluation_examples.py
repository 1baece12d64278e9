"""The examples of evaluation run as their heads say."""

import importlib.util
from pathlib import Path

import benchmark_videos as benchmarks
import pytest
from toy_checkpoint import save_toy_checkpoint, toy_processor

from vita_clip_hf.evaluation import load_report

EXAMPLES = Path(__file__).parents[2] / "examples"


def load(name: str):
    spec = importlib.util.spec_from_file_location(f"example_{name}", EXAMPLES / f"{name}.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture(scope="module")
def home(tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("home")
    save_toy_checkpoint(folder)
    toy_processor().save_pretrained(folder / "base")
    benchmarks.write_ucf101(folder, per_class=4)
    return folder


@pytest.fixture(autouse=True)
def own_cache(home, monkeypatch):
    from vita_clip_hf.evaluation import run

    monkeypatch.setattr(run, "DEFAULT_CACHE", str(home / "cache"))


def test_evaluate(home, tmp_path, capsys):
    folders = (str(home / name) for name in ("adapter",))
    videos, lists = str(home / "UCF-101"), str(home / "ucfTrainTestlist")
    load("evaluate").main(*folders, "zero-shot-ucf101", videos, lists, str(tmp_path))
    assert "top_1_mean" in capsys.readouterr().out
    assert (tmp_path / "zero-shot-ucf101" / "report.json").is_file()


def test_zero_shot(home, capsys):
    load("zero_shot").main(str(home / "UCF-101"), str(home / "adapter"), str(home / "base"))
    printed = capsys.readouterr().out
    assert printed.count("protocol: zero-shot (changed)") == 2
    assert "| base | 20 |" in printed


def write_settings(home: Path, folder: Path) -> Path:
    settings = folder / "settings.yaml"
    settings.write_text(
        f"base: {home / 'base'}\nnum_frames: 4\naugment: false\nmax_steps: 1\nuse_cpu: true\nreport_to: none\n"
        "save_strategy: 'no'\ndisable_tqdm: true\nper_device_train_batch_size: 2\n"
    )
    return settings


def test_few_shot_trains_each_run_once(home, tmp_path, capsys):
    settings = write_settings(home, tmp_path)
    train = str(home / "UCF-101")
    given = [str(settings), "--train", train, "--test", train, "--out", str(tmp_path / "runs"), "--shots", "1", "2"]
    load("few_shot").main([*given, "--cache", str(tmp_path / "cache")])
    printed = capsys.readouterr().out
    assert "top_1_k1 " in printed
    assert "top_1_k2 " in printed
    assert len((tmp_path / "runs" / "draws" / "k2_seed1.csv").read_text().splitlines()) == 10
    load("few_shot").main([*given, "--cache", str(tmp_path / "cache")])
    assert capsys.readouterr().out.count("is trained already.") == 2


def test_base_to_novel_trains_on_half_of_the_classes(home, tmp_path, capsys):
    settings = write_settings(home, tmp_path)
    videos = str(home / "UCF-101")
    given = ["--train", videos, "--test", videos, "--out", str(tmp_path / "runs"), "--shots", "1", "--seeds", "1", "2"]
    load("few_shot").main([str(settings), "--base-to-novel", *given])
    printed = capsys.readouterr().out
    assert "harmonic_mean " in printed
    assert (tmp_path / "runs" / "classes" / "base.txt").read_text().split("\n")[:3] == [
        *("apply eye makeup", "archery", "basketball dunk"),
    ]
    report = load_report(tmp_path / "runs" / "report")
    assert [(part.seed, part.split, part.num_classes, part.class_texts) for part in report.parts] == [
        *((1, "base", 3, "own"), (1, "novel", 2, "templates")),
        *((2, "base", 3, "own"), (2, "novel", 2, "templates")),
    ]


def test_five_way_trains_a_model_for_each_draw_on_its_own_classes(home, tmp_path, capsys):
    settings = write_settings(home, tmp_path)
    (tmp_path / "names.txt").write_text("these\nare\nthe\nnames\nof\nanother list\n")
    settings.write_text(settings.read_text() + f"class_names: {tmp_path / 'names.txt'}\n")
    videos, runs = str(tmp_path / "UCF-101"), tmp_path / "runs"
    benchmarks.write_ucf101(tmp_path, per_class=6)
    given = [str(settings), "--five-way", "--draws", "2", "--test", videos, "--out", str(runs)]
    load("few_shot").main([*given, "--cache", str(tmp_path / "cache")])
    report = load_report(runs / "report")
    assert [(part.draw, part.class_texts, part.num_classes, part.num_videos) for part in report.parts] == [
        *((0, "own", 5, 5), (1, "own", 5, 5)),
    ]
    for draw in (0, 1):
        lines = (runs / "draws" / f"draw{draw}.csv").read_text().splitlines()
        trained_on = {Path(line.rpartition(",")[0]).name for line in lines}
        tested_on = {Path(row["video"]).name for row in report.predictions if row["part"] == report.parts[draw].name}
        assert (len(trained_on), len(tested_on), trained_on & tested_on) == (25, 5, set())


def test_five_way_takes_no_other_list_to_train_on(home, tmp_path, capsys):
    for given in (["--five-way", "--train", "some"], []):
        with pytest.raises(SystemExit):
            load("few_shot").main(["settings.yaml", *given, "--test", str(home), "--out", str(tmp_path)])
        assert "--train is what is drawn from" in capsys.readouterr().err
