"""`vita-clip evaluate`, `features` and `compare`: one process or two, from Python or typed, the same right answers."""

import json
import os
import subprocess
import sys
from pathlib import Path

import benchmark_videos as benchmarks
import numpy as np
import pytest
from datasets import Dataset
from pyarrow import parquet
from toy_checkpoint import save_toy_checkpoint, toy_processor
from toy_x_clip import save_toy_x_clip

from vita_clip_hf.cli import main
from vita_clip_hf.evaluate import _changes
from vita_clip_hf.evaluation import Resources, TestData, evaluate, load_protocol, load_report

TIMEOUT = 300
CPU_2 = Path(__file__).parents[2] / "examples" / "accelerate" / "cpu_2.yaml"


@pytest.fixture(scope="module")
def home(tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("home")
    save_toy_checkpoint(folder)
    toy_processor().save_pretrained(folder / "base")
    save_toy_x_clip(folder / "x_clip")
    (folder / "ucf101").mkdir()
    benchmarks.write_ucf101(folder / "ucf101")
    (folder / "ucf101" / "UCF-101" / "YoYo" / "v_YoYo_g01_c01.avi").write_bytes(b"no video")
    (folder / "ucf101" / "UCF-101" / "TaiChi" / "v_TaiChi_g02_c01.avi").unlink()
    return folder


def arguments(home: Path, cache: Path, *more: str, models: tuple[str, ...] = ("adapter",)) -> list[str]:
    data = home / "ucf101"
    models_given = [str(home / model) for model in models]
    given = [
        "--protocol",
        "zero-shot-ucf101",
        "--videos",
        str(data / "UCF-101"),
        "--list",
        str(data / "ucfTrainTestlist"),
    ]
    return ["evaluate", "--model", *models_given, *given, "--cache", str(cache), "--num-workers", "0", *more]


def launch(arguments: list[str], processes: int = 1) -> str:
    start = [sys.executable, "-m"]
    if processes > 1:
        start += ["accelerate.commands.launch", "--config_file", str(CPU_2), "--main_process_port", "0", "-m"]
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "VITA_CLIP_DEBUG": "1"}
    done = subprocess.run(
        [*start, "vita_clip_hf.cli", *arguments], env=environment, capture_output=True, text=True, timeout=TIMEOUT
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


def right_answers(folder: Path) -> list[tuple]:
    predictions = load_report(folder).predictions
    return sorted(
        (row["part"], os.path.basename(row["video"]), row["predicted"], row["correct"]) for row in predictions
    )


@pytest.fixture(scope="module")
def typed(home) -> Path:
    """The report of one process."""
    assert main(arguments(home, home / "cache", "--out", str(home / "one"), "--device", "cpu")) == 0
    return home / "one"


def test_two_processes_have_the_right_answers_of_one(home, typed):
    printed = launch(arguments(home, home / "cache two", "--out", str(home / "two")), processes=2)
    assert printed.count("report: ") == 1
    assert right_answers(home / "two") == right_answers(typed)
    one, two = (load_report(folder) for folder in (typed, home / "two"))
    assert one.figures == two.figures
    assert one.data["counts"] == two.data["counts"]
    assert list(one.data["unreadable"]) == list(two.data["unreadable"])
    shards = list((home / "cache two").glob("*/*.safetensors"))
    assert len(shards) >= 2  # 13 videos: each process has written its share


def test_python_has_the_right_answers_of_the_command(home, typed):
    data = TestData(home / "ucf101" / "UCF-101", home / "ucf101" / "ucfTrainTestlist")
    resources = Resources(cache=home / "cache three", batch_size=3, device="cpu")
    report = evaluate(home / "adapter", "zero-shot-ucf101", data, resources)
    report.save(home / "three")
    assert right_answers(home / "three") == right_answers(typed)
    assert report.figures == load_report(typed).figures
    assert report.command is None


def test_missing_and_unreadable_videos_are_counted_named_and_make_it_partial(typed, capsys):
    report = load_report(typed)
    assert report.is_partial
    counts = report.data["counts"]["test2"]
    assert counts == {
        **{"listed": 10, "missing": 0, "unreadable": 1, "evaluated": 9},
        **{"of_other_classes": 0, "repeated": 0, "classes": 5},
    }
    assert report.data["counts"]["test1"]["missing"] == 1
    assert [os.path.basename(path) for path in report.data["missing"]] == ["v_TaiChi_g02_c01.avi"]
    assert [os.path.basename(path) for path in report.data["unreadable"]] == ["v_YoYo_g01_c01.avi"]
    text = report.as_text()
    assert "PARTIAL" in text
    assert "v_TaiChi_g02_c01.avi" in text
    assert "could not be read" in text


def test_the_protocol_is_printed_with_the_numbers(home, typed, capsys):
    main(arguments(home, home / "cache", "--set", "num_frames=3", "--split", "test2", "--device", "cpu"))
    printed = capsys.readouterr().out
    for line in ("protocol: zero-shot-ucf101 (changed)", "num_frames: 3", "frame_stride: 16", "temporal_views: 3"):
        assert line in printed
    assert "Only test2; the protocol has test1, test3 too." in printed
    assert "saved for 4 frames, uniform; the protocol zero-shot-ucf101 (changed) takes 3 frames, strided" in printed


def test_clips_other_than_the_models_own_are_told_before_a_video_is_read(home, caplog, monkeypatch):
    class VideosAreReadError(Exception):
        pass

    def read(*args, **kwargs):
        raise VideosAreReadError

    monkeypatch.setattr("vita_clip_hf.evaluation.run.encode_videos", read)
    data = TestData(home / "ucf101" / "UCF-101", home / "ucf101" / "ucfTrainTestlist", splits=["test2"])
    resources = Resources(cache=home / "unused cache", device="cpu")
    protocol = load_protocol("zero-shot-ucf101")
    with pytest.raises(VideosAreReadError):
        evaluate(home / "adapter", protocol, data, resources)
    (told,) = caplog.messages
    assert "adapter was saved for 4 frames, uniform; the protocol zero-shot-ucf101 takes 8 frames, strided" in told
    options = "--set num_frames=4 --set sampling=uniform --set frame_stride=null"
    assert told.endswith(options)
    caplog.clear()
    changed = protocol.with_changes(_changes(options.replace("--set ", "").split()))
    with pytest.raises(VideosAreReadError):
        evaluate(home / "adapter", changed, data, resources)
    assert not caplog.messages


def test_the_report_repeats_the_run(home, typed):
    content = json.loads((typed / "report.json").read_text())
    assert content["protocol"]["num_frames"] == 8
    assert content["protocol"]["templates"]
    assert content["models"][str(home / "adapter")]["fingerprint"].startswith("sha256:")
    assert {"vita-clip-hf", "torch", "python", "transformers"} <= content["versions"].keys()
    assert content["data"]["lists"][0]["checksum"].startswith("sha256:")
    assert content["command"][0] == "vita-clip"


def test_several_models_are_compared(home, typed, capsys, tmp_path):
    pytest.importorskip("matplotlib")
    models = ("adapter", "base", "x_clip")
    more = ("--out", str(tmp_path / "all"), "--device", "cpu")
    assert main(arguments(home, home / "cache", *more, models=models)) == 0
    printed = capsys.readouterr().out
    assert "x_clip takes clips of 4 frames; the protocol's 8 were not used." in printed
    assert "Class names stand without a template, as the model was trained." in printed
    folders = [str(tmp_path / "all" / name) for name in models]
    assert f"vita-clip compare {' '.join(folders)}" in printed
    assert main(["compare", *folders, "--out", str(tmp_path / "comparison")]) == 0
    page = (tmp_path / "comparison" / "comparison.md").read_text()
    assert "| base |" in page
    assert (tmp_path / "comparison" / "classes_base.png").stat().st_size > 1000
    assert (tmp_path / "comparison" / "frames_and_views.png").is_file()


def test_x_clip_keeps_the_patches_that_its_texts_need(home, typed, tmp_path):
    command = arguments(
        home, tmp_path / "cache", "--out", str(tmp_path / "first"), "--device", "cpu", models=("x_clip",)
    )
    assert main(command) == 0
    before = right_answers(tmp_path / "first")
    command[command.index(str(tmp_path / "first"))] = str(tmp_path / "second")
    assert main(command) == 0
    assert right_answers(tmp_path / "second") == before


def test_the_protocols_are_explained(capsys):
    for command in (["evaluate", "--list"], ["evaluate", "--list-protocols"]):
        assert main(command) == 0
        printed = capsys.readouterr().out
        assert "zero-shot-hmdb51\n  HMDB51, all 51 classes" in printed
        for trap in ("weights averaged with CLIP's", "rewritten by a language model", "best epoch", "51-class subset"):
            assert trap in printed


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (["--protocol", "zero-shot-ucf"], "There is no protocol 'zero-shot-ucf'"),
        (["--videos", "nowhere"], "nowhere: no such folder of videos"),
        (["--list", "nowhere"], "nowhere: no such list"),
        (["--model", "./nowhere"], "./nowhere: no such folder"),
        (["--dataset", "hmdb51"], "is for ucf101; found --dataset hmdb51"),
        (["--set", "num_frames"], "expected FACT=VALUE"),
        (["--set", "frames=3"], "unknown frames"),
        (["--device", "banana"], "'banana' is no device"),
        (["--out", "/dev/null/x"], "/dev/null/x"),
        (["--batch-size", "0"], "batch_size must be at least 1"),
        (["--split", "test9"], "found 'test9'"),
        (["--model", "{home}/adapter", "{home}/adapter"], "names a model twice"),
        (["--model", "{home}/adapter", "{home}/base/../adapter/"], "names a model twice"),
        (["--proposals", "{home}/any.json"], "--proposals is for localisation"),
        (["--protocol", "retrieval", "--classes", "{home}/any.txt"], "compares captions"),
        (["--out", "{home}/adapter/config.json"], "config.json: is a file; --out is a folder"),
        (["--model", "runs/k{shots}"], "has nothing to put in for {shots}"),
    ],
)
def test_bad_options_are_one_line(home, capsys, change, message):
    given = [entry.replace("{home}", str(home)) for entry in change]
    assert main([*arguments(home, home / "cache", "--device", "cpu"), *given]) == 1
    assert message in capsys.readouterr().err


def test_what_is_missing_is_asked_for(capsys):
    assert main(["evaluate", "--model", "m", "--videos", "."]) == 1
    assert "--protocol is missing. `vita-clip evaluate --list` explains" in capsys.readouterr().err


def test_features_are_written_for_people(home, tmp_path, capsys):
    command = ["features", str(home / "ucf101" / "UCF-101"), "--model", str(home / "adapter"), "--views", "2x1"]
    command += ["--cache", str(tmp_path / "cache"), "--num-workers", "0", "--device", "cpu", "--out"]
    for name in ("features.npz", "features.parquet"):
        assert main([*command, str(tmp_path / name)]) == 0
    assert "13 videos, 1 not readable" in capsys.readouterr().out
    arrays = np.load(tmp_path / "features.npz")
    assert arrays["frame_embeds"].shape == (13, 2, 4, 20)
    assert arrays["video_embeds"].shape == (13, 2, 20)
    np.testing.assert_allclose(arrays["frame_embeds"].mean(2), arrays["video_embeds"], atol=1e-5)
    # 10 frames at 8 a second: uniform places of 4 frames in 2 views.
    np.testing.assert_allclose(arrays["times"][0], np.array([[0, 3, 5, 8], [1, 4, 6, 9]]) / 8, atol=1e-6)
    table = Dataset.from_parquet(str(tmp_path / "features.parquet"), keep_in_memory=True)
    assert table["video"] == arrays["names"].tolist()
    np.testing.assert_array_equal(np.array(table[3]["frame_embeds"], dtype=np.float32), arrays["frame_embeds"][3])
    plain = parquet.read_table(tmp_path / "features.parquet").to_pandas()  # beside `datasets`, which is imported here
    assert np.array(plain["times"][3].tolist()).tolist() == arrays["times"][3].tolist()
    assert "extension" not in str(parquet.read_schema(tmp_path / "features.parquet"))
    for wrong, message in (
        ([str(tmp_path / "features.csv")], ".npz or .parquet"),
        ([str(tmp_path / "x.npz"), "--num-frames", "0"], "num_frames must be an integer of at least 1"),
        ([str(tmp_path / "x.npz"), "--frame-stride", "4"], "frame_stride is for strided sampling"),
    ):
        assert main([*command, *wrong]) == 1
        assert message in capsys.readouterr().err
    with pytest.raises(SystemExit):
        main([*command, str(tmp_path / "x.npz"), "--views", "2"])
    assert "expected clips x crops, such as 4x3, found '2'" in capsys.readouterr().err


def test_the_second_evaluation_decodes_nothing(home, typed, monkeypatch):
    """Timings gate no test: `docs/evaluation.md` has the measured ratio."""
    from vita_clip_hf.evaluation import encoding

    opened = []
    reader = encoding.VideoReader
    monkeypatch.setattr(encoding, "VideoReader", lambda source: opened.append(source) or reader(source))
    data = TestData(home / "ucf101" / "UCF-101", home / "ucf101" / "ucfTrainTestlist")
    resources = Resources(cache=home / "cache", device="cpu")
    evaluate(home / "adapter", "zero-shot-ucf101", data, resources)
    assert {os.path.basename(path) for path in opened} == {"v_YoYo_g01_c01.avi"}  # which cannot be read
