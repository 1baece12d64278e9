"""Prediction on files: any file gives a ranked list or one error that names it."""

import shutil

import pytest
from toy_checkpoint import save_toy_checkpoint, write_rising_video
from toy_vita_clip import LABELS, save_toy_clip
from vita_clip_hf.modeling.video_reading_vita_clip import VideoReadError

from vita_clip_hf.predict import load_predictor, predict_file

UNREADABLE = {"audio_only.mp3": "no video stream", "corrupted.mp4": "frame .* cannot be decoded"}


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return save_toy_checkpoint(tmp_path_factory.mktemp("checkpoint"))


@pytest.fixture(scope="module")
def video(tmp_path_factory):
    return write_rising_video(tmp_path_factory.mktemp("videos") / "rising.mp4", num_frames=10)


def test_the_models_own_classes_are_ranked(folder, video):
    result = predict_file(folder, video)
    assert {entry["label"] for entry in result} == set(LABELS)
    assert sum(entry["score"] for entry in result) == pytest.approx(1)


def test_labels_and_templates_can_be_given(folder, video):
    result = predict_file(folder, video, labels=["a cat", "a dog"], templates=["{}.", "a video of {}."], top_k=1)
    assert len(result) == 1
    assert result[0]["label"] in ("a cat", "a dog")


def test_one_predictor_serves_many_videos(folder, video):
    predict = load_predictor(folder, top_k=2)
    assert predict(video) == predict(str(video)) == predict(video.read_bytes())


def test_every_shared_video_gives_a_ranking_or_a_clear_error(folder, shared_dir):
    predict = load_predictor(folder)
    videos = sorted((shared_dir / "data" / "videos").iterdir())
    assert len(videos) >= 16
    for path in videos:
        if path.name in UNREADABLE:
            with pytest.raises(VideoReadError, match=rf"{path.name}: .*{UNREADABLE[path.name]}") as error:
                predict(path)
            assert "\n" not in str(error.value)
        else:
            assert [entry["label"] for entry in predict(path)] != []


@pytest.mark.parametrize("content", ["null", "3", "NaN", "[]", "[" * 10**5, "9" * 10**4, "\ufeff{}"])
def test_a_configuration_that_is_no_object_is_an_error_of_one_line_that_names_it(folder, tmp_path, content):
    copy = shutil.copytree(folder, tmp_path / "copy")
    (copy / "config.json").write_text(content)
    with pytest.raises(ValueError, match=rf"{copy / 'config.json'} cannot be used: ") as caught:
        load_predictor(copy)
    assert "\n" not in str(caught.value)


def test_a_plain_clip_is_run_without_prompts_and_needs_labels(tmp_path, folder, video):
    base = save_toy_clip(tmp_path / "clip")
    with pytest.raises(OSError, match="no processor"):
        predict_file(base, video, labels=["a", "b"])
    (base / "processor_config.json").write_bytes((folder / "processor_config.json").read_bytes())
    with pytest.raises(ValueError, match="no classes of its own"):
        predict_file(base, video)
    assert predict_file(base, video, labels=["a", "b"]) == predict_file(base, video, labels=["a", "b"])


@pytest.mark.parametrize("missing", ["./absent", "/absent/model", "README.md"])
def test_a_folder_that_is_not_there_is_named(missing, tmp_path, monkeypatch, video):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "README.md").touch()
    with pytest.raises(OSError, match=f"{missing}: no such folder"):
        predict_file(missing, video)


def test_a_folder_without_a_model_is_named(tmp_path, video):
    with pytest.raises(OSError, match=r"has no config\.json"):
        predict_file(tmp_path, video)
