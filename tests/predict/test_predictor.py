"""Prediction on files: any file gives a ranked list or one error that names it."""

import shutil

import pytest
import torch
from toy_checkpoint import save_toy_checkpoint, toy_processor, write_rising_video
from toy_vita_clip import LABELS, NUM_FRAMES, save_toy_clip, toy_tokenizer
from toy_x_clip import save_toy_x_clip
from transformers import pipeline
from vita_clip_hf.modeling.labels_vita_clip import embed_labels
from vita_clip_hf.modeling.video_reading_vita_clip import VideoReadError

from vita_clip_hf import EfficientPromptModel
from vita_clip_hf.models import EfficientPrompt, XClip
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
    with pytest.raises(OSError, match="no whole processor"):
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


@pytest.fixture(scope="module")
def efficient_prompt(tmp_path_factory):
    folder = tmp_path_factory.mktemp("efficient_prompt")
    settings = {"num_frames": NUM_FRAMES, "prefix_length": 2, "suffix_length": 2, "num_temporal_heads": 4}
    model = EfficientPromptModel.from_pretrained(
        save_toy_clip(folder / "base"), id2label=dict(enumerate(LABELS)), tokenizer=toy_tokenizer(), **settings
    )
    model.save_pretrained(folder / "adapter")
    toy_processor().save_pretrained(folder / "adapter")
    return folder / "adapter"


def test_an_efficient_prompt_is_run_as_one_on_its_own_classes(efficient_prompt, video):
    predictor = load_predictor(efficient_prompt)
    assert isinstance(predictor.model, EfficientPrompt)
    assert {entry["label"] for entry in predictor(video)} == set(LABELS)


def test_efficient_prompt_sees_labels_as_in_its_training_by_command_and_pipeline(efficient_prompt, video):
    predictor = load_predictor(efficient_prompt, labels=["a cat", "a dog"])
    assert predictor.templates == ("{}",)
    classifier = pipeline("zero-shot-video-classification", model=str(efficient_prompt))
    expected = {entry["label"]: entry["score"] for entry in predictor(video)}
    for found in (
        classifier(str(video), candidate_labels=["a cat", "a dog"]),
        classifier(str(video), candidate_labels=["a cat", "a dog"], hypothesis_template="{}"),
    ):
        assert {entry["label"]: entry["score"] for entry in found} == pytest.approx(expected, abs=1e-5)


def test_zero_shot_sets_of_a_training_take_the_templates_of_the_models_kind(efficient_prompt):
    model, tokenizer = EfficientPromptModel.from_pretrained(efficient_prompt).eval(), toy_tokenizer()
    torch.testing.assert_close(embed_labels(model, tokenizer, LABELS), embed_labels(model, tokenizer, LABELS, ["{}"]))


def test_an_x_clip_is_run_as_one_and_needs_labels(tmp_path, video):
    folder = save_toy_x_clip(tmp_path / "x_clip")
    with pytest.raises(ValueError, match="no classes of its own"):
        load_predictor(folder)
    predictor = load_predictor(folder, labels=["a cat", "a dog"], views=(2, 1))
    assert isinstance(predictor.model, XClip)
    assert predictor.templates == ("{}",)
    assert {entry["label"] for entry in predictor(video)} == {"a cat", "a dog"}


@pytest.mark.parametrize("content", ["[]", '"clip"', "null", "7", "{", "[" * 5000, '{"model_type": ["clip"]}', ""])
def test_a_config_that_is_no_object_is_named(folder, tmp_path, video, content):
    (tmp_path / "config.json").write_text(content)
    with pytest.raises(ValueError, match=str(tmp_path)):
        predict_file(tmp_path, video)
