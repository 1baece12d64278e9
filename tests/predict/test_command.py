"""`vita-clip predict` on what people hand it."""

import csv
import io
import json
import shutil
import sys

import pytest
from safetensors.torch import load_file, save_file
from toy_checkpoint import save_toy_checkpoint, toy_processor, write_rising_video
from toy_vita_clip import LABELS, save_toy_clip
from vita_clip_hf.modeling.labels_vita_clip import VIDEO_TEMPLATES

from vita_clip_hf.cli import main
from vita_clip_hf.predict import Prediction, Predictor, load_predictor


@pytest.fixture(scope="module")
def model(tmp_path_factory):
    return str(save_toy_checkpoint(tmp_path_factory.mktemp("checkpoint")))


@pytest.fixture(scope="module")
def videos(tmp_path_factory):
    """Three videos at two depths, a file that is none, and one with a video's ending that is none."""
    folder = tmp_path_factory.mktemp("videos")
    (folder / "deep").mkdir()
    for number, name in enumerate(("a.mp4", "b.mp4", "deep/c.mp4")):
        write_rising_video(folder / name, num_frames=10 + 5 * number)
    (folder / "broken.mp4").write_text("no video")
    (folder / "notes.txt").touch()
    return folder


def shares(printed: str) -> list[str]:
    return [line.split("%")[1].strip() for line in printed.splitlines() if "%" in line]


def test_a_single_video_prints_its_ranking_and_nothing_else(model, videos, capsys):
    assert main(["predict", "--model", model, str(videos / "a.mp4"), "--top-k", "2"]) == 0
    printed = capsys.readouterr()
    assert len(printed.out.splitlines()) == len(shares(printed.out)) == 2
    assert printed.err.splitlines() == [
        "vita-clip predict: chooses from the model's own classes, by their learned contexts"
    ]


@pytest.mark.parametrize("batch_size", ["1", "3"])
def test_a_folder_is_read_whole_and_bad_files_are_named(model, videos, capsys, batch_size):
    assert main(["predict", "--model", model, str(videos), "--batch-size", batch_size]) == 1
    printed = capsys.readouterr()
    assert [line for line in printed.out.splitlines() if "%" not in line] == [
        str(videos / name) for name in ("a.mp4", "b.mp4", "deep/c.mp4")
    ]
    assert sorted(shares(printed.out)) == sorted(LABELS * 3)
    assert f"left out 1 without a video's ending: {videos / 'notes.txt'}" in printed.err
    assert f"vita-clip predict: {videos / 'broken.mp4'}: is not a video" in printed.err
    assert printed.err.splitlines()[-1].startswith("vita-clip predict: 1 of 4 videos could not be read: ")


def test_videos_of_a_batch_pass_the_model_together_with_the_same_scores(model, videos, monkeypatch):
    files, sizes = [str(videos / name) for name in ("a.mp4", "b.mp4", "deep/c.mp4")], []
    predictor = load_predictor(model)
    predictor.model.model.vision_model.register_forward_hook(
        lambda module, args, output: sizes.append(len(output.pooler_output))
    )
    single = list(predictor.predict_files(files, batch_size=1))
    together = list(predictor.predict_files(files, batch_size=3))
    assert sizes == [1, 1, 1, 3]
    assert [entry.video for entry in single] == [entry.video for entry in together] == files
    for one, other in zip(single, together, strict=True):
        assert [entry["label"] for entry in one.predictions] == [entry["label"] for entry in other.predictions]
        scores = [[entry["score"] for entry in prediction.predictions] for prediction in (one, other)]
        assert scores[0] == pytest.approx(scores[1], abs=1e-5)


@pytest.mark.parametrize("ending", ["csv", "json", "jsonl"])
def test_results_go_to_a_file_with_what_failed(model, videos, tmp_path, capsys, ending):
    path = tmp_path / f"found.{ending}"
    arguments = ["--labels", "a cat", "a dog", "--top-k", "1", "--output", str(path)]
    assert main(["predict", "--model", model, str(videos), *arguments]) == 1
    printed = capsys.readouterr()
    assert printed.out == ""
    assert f"4 of 4 videos are in {path}" in printed.err
    text = path.read_text(encoding="utf-8")
    if ending == "csv":
        rows = list(csv.DictReader(io.StringIO(text)))
        assert [row["rank"] for row in rows] == ["1", "1", "", "1"]
        found = [(row["video"], row["label"], row["error"]) for row in rows]
    else:
        entries = json.loads(text) if ending == "json" else [json.loads(line) for line in text.splitlines()]
        found = [
            (e["video"], e["predictions"][0]["label"] if e["predictions"] else "", e["error"] or "") for e in entries
        ]
    assert [video for video, *_ in found] == [
        str(videos / name) for name in ("a.mp4", "b.mp4", "broken.mp4", "deep/c.mp4")
    ]
    assert all((label in ("a cat", "a dog")) != bool(error) for _, label, error in found)
    assert "broken.mp4: is not a video" in found[2][2]


@pytest.mark.parametrize("form", ["csv", "json", "jsonl"])
def test_a_form_without_a_file_is_printed(model, videos, tmp_path, capsys, form):
    path = tmp_path / f"found.{form}"
    for output in (str(path), form):
        assert main(["predict", "--model", model, str(videos / "a.mp4"), "--output", output]) == 0
    assert capsys.readouterr().out.splitlines() == path.read_text(encoding="utf-8").splitlines()


def test_videos_behind_labels_are_missed_with_the_reason(model, videos, capsys):
    assert main(["predict", "--model", model, "--labels", "a", "b", str(videos / "a.mp4")]) == 1
    assert "No VIDEO is named: give files, folders, patterns or URLs, and before --labels" in capsys.readouterr().err


def test_an_interrupted_run_writes_what_it_has(model, videos, tmp_path, capsys, monkeypatch):
    def interrupted(predictor, files, batch_size):
        yield Prediction(files[0], [{"label": "swim", "score": 1.0}])
        raise KeyboardInterrupt

    monkeypatch.setattr(Predictor, "predict_files", interrupted)
    arguments = [str(videos / "a.mp4"), str(videos / "b.mp4"), "--output", str(tmp_path / "found.jsonl")]
    assert main(["predict", "--model", model, *arguments]) == 130
    assert len((tmp_path / "found.jsonl").read_text().splitlines()) == 1
    assert "1 of 2 videos are in" in capsys.readouterr().err


def test_labels_come_from_a_file_and_the_templates_are_shown(model, videos, tmp_path, capsys):
    (tmp_path / "names.txt").write_text("RideBike\nSwimFast\n")
    command = ["predict", "--model", model, str(videos / "a.mp4"), "--labels", str(tmp_path / "names.txt")]
    assert main(command) == 0
    printed = capsys.readouterr()
    assert sorted(shares(printed.out)) == ["ride bike", "swim fast"]
    assert f"chooses from 2 labels in {', '.join(map(repr, VIDEO_TEMPLATES))}" in printed.err
    assert main([*command, "--template", "{} here", "--template", "{}"]) == 0
    assert "chooses from 2 labels in '{} here', '{}'" in capsys.readouterr().err


def test_views_are_averaged_as_the_processors_own_are(model, videos, tmp_path, capsys):
    assert main(["predict", "--model", model, str(videos / "a.mp4"), "--views", "2x3"]) == 0
    given = capsys.readouterr().out
    shutil.copytree(model, tmp_path / "adapter")
    processor = toy_processor()
    processor.video_processor.num_temporal_views, processor.video_processor.num_spatial_views = 2, 3
    processor.save_pretrained(tmp_path / "adapter")
    assert main(["predict", "--model", str(tmp_path / "adapter"), str(videos / "a.mp4")]) == 0
    assert capsys.readouterr().out == given
    assert main(["predict", "--model", model, str(videos / "a.mp4")]) == 0
    assert capsys.readouterr().out != given


def test_scores_that_are_not_finite_are_an_error_with_the_models_name(videos, tmp_path, capsys):
    clip = save_toy_clip(tmp_path / "clip")
    toy_processor().save_pretrained(clip)
    weights = load_file(clip / "model.safetensors")
    weights["visual_projection.weight"] *= 1e38  # finite, but its products are not
    save_file(weights, clip / "model.safetensors", {"format": "pt"})
    command = ["predict", "--model", str(clip), str(videos / "a.mp4"), "--labels", "a cat", "a dog"]
    assert main(command) == 1
    printed = capsys.readouterr()
    assert printed.out == ""
    assert f"{clip} gives scores that are not finite numbers" in printed.err


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--device", "cud"], "'cud' is no device"),
        (["--device", "xla:7"], "This machine has no device xla:7; it has cpu"),
        (["--template", "{}"], "A template needs labels"),
        (["--output", "found.txt"], "found.txt ends with '.txt'"),
        (["--labels", "no.txt"], "no.txt: no such list"),
        (["--labels", "a", "b.mp4"], "'b.mp4' among the labels"),
        (["--top-k", "0"], "top_k must be at least 1"),
        (["--labels", "a,b"], "There is one label, 'a,b', which every video would get by 100 %"),
    ],
)
def test_options_that_make_no_sense_are_one_line(model, videos, capsys, arguments, message):
    assert main(["predict", "--model", model, str(videos / "a.mp4"), *arguments]) == 1
    assert message in capsys.readouterr().err.splitlines()[-1]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--views", "4"], "expected clips x crops, such as 4x3, found '4'"),
        (["--views", "0x3"], "found '0x3'"),
        (["--batch-size", "0"], "expected a whole number of at least 1, found '0'"),
        (["--batch-size", "-2"], "found '-2'"),
        (["--label", "a"], "there is no option --label; is --labels meant?"),
    ],
)
def test_options_of_the_wrong_form_are_refused_with_the_right_one(capsys, arguments, message):
    with pytest.raises(SystemExit) as exit_info:
        main(["predict", "--model", "m", "a.mp4", *arguments])
    assert exit_info.value.code == 2
    assert message in capsys.readouterr().err


def test_names_of_any_bytes_end_no_run(model, videos, tmp_path, capsys, monkeypatch):
    with open(bytes(tmp_path) + b"/caf\xe9 \xff\n.mp4", "wb") as file:
        file.write((videos / "a.mp4").read_bytes())
    written = io.BytesIO()
    monkeypatch.setattr(sys, "stdout", io.TextIOWrapper(written, encoding="ascii", write_through=True))
    code = main(["predict", "--model", model, str(videos / "a.mp4"), str(tmp_path)])
    printed = written.getvalue().decode("ascii") + capsys.readouterr().err
    assert code in (0, 1)  # whether the decoder can open such a name
    assert r"caf\udce9 \udcff\n.mp4" in printed
    assert "unexpected" not in printed
