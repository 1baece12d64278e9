"""The one loop over clips against the model's own forward."""

import pytest
import torch
from toy_checkpoint import toy_processor, write_rising_video
from toy_training import toy_data
from toy_vita_clip import LABELS, toy_model, toy_tokenizer

from vita_clip_hf import VitaClipForVideoClassification, ZeroShotVideoClassificationPipeline
from vita_clip_hf.data import DecodedClips, VideoViews, load_videos
from vita_clip_hf.data.normalization import PixelNormalization
from vita_clip_hf.evaluation import embed_labels, predict, predict_logits
from vita_clip_hf.evaluation.predict import predict_batches
from vita_clip_hf.models import VitaClip

PROCESSOR = toy_processor()


def normalized(pixel_values: torch.Tensor) -> torch.Tensor:
    return PixelNormalization.of(PROCESSOR)(pixel_values)


@pytest.mark.parametrize("batch_size", [1, 3, 64])
def test_logits_are_those_of_the_models_own_classes(batch_size):
    model, clips = toy_model(), toy_data(7)
    with torch.no_grad():
        expected = model(normalized(clips.pixel_values)).logits_per_video
    found = predict(VitaClip(model), clips, PROCESSOR, batch_size=batch_size)
    torch.testing.assert_close(found.logits, expected, atol=1e-5, rtol=1e-5)
    assert found.logits.shape == (7, len(LABELS))
    assert torch.equal(found.labels, clips.labels)
    assert found.unreadable == {}


def test_texts_stand_for_other_classes():
    model, clips = toy_model(cls=VitaClipForVideoClassification), toy_data(3)
    texts = embed_labels(model, toy_tokenizer(), ["cooking", "juggling"])
    with torch.no_grad():
        expected = model(normalized(clips.pixel_values), text_embeds=texts).logits
    torch.testing.assert_close(predict_logits(model, clips, PROCESSOR, texts), expected, atol=1e-5, rtol=1e-5)


def test_views_are_averaged_as_the_model_averages_them():
    model, clips = toy_model(), toy_data(6)
    views = DecodedClips(clips.pixel_values.unflatten(0, (2, 3)), clips.labels[:2])
    with torch.no_grad():
        expected = model(normalized(views.pixel_values)).logits_per_video
    torch.testing.assert_close(predict_logits(model, views, PROCESSOR), expected, atol=1e-5, rtol=1e-5)
    mean = predict_logits(model, clips, PROCESSOR).softmax(-1).unflatten(0, (2, 3)).mean(1)
    torch.testing.assert_close(expected.softmax(-1), mean, atol=1e-5, rtol=1e-5)


@pytest.mark.parametrize("training", [True, False])
def test_a_model_runs_in_evaluation_mode_and_goes_back(training):
    model = toy_model().train(training)
    modes = []
    model.vision_model.register_forward_hook(lambda module, *_: modes.append(module.training))
    predict_logits(model, toy_data(2), PROCESSOR)
    assert modes == [False]
    assert model.training == training


def test_no_random_number_of_the_caller_is_drawn():
    model, state = toy_model(), torch.random.get_rng_state()
    predict_logits(model, toy_data(2), PROCESSOR)
    assert torch.equal(torch.random.get_rng_state(), state)


def test_classes_are_encoded_once_for_all_batches():
    model, calls = toy_model(), []
    model.text_model.register_forward_hook(lambda *_: calls.append(1))
    predict_logits(model, toy_data(6), PROCESSOR, batch_size=2)
    assert len(calls) == 1


def test_videos_that_could_not_be_read_are_named(caplog):
    model, clips = toy_model(), toy_data(4)
    batches = [
        {"pixel_values": clips.pixel_values[:2], "labels": clips.labels[:2]},
        {
            "pixel_values": clips.pixel_values[2:],
            "labels": torch.tensor([0, -100]),
            "skipped": [("gone.mp4", "is empty")],
        },
    ]
    contender = VitaClip(model)
    found = predict_batches(contender, batches, contender.encode_classes(), normalize=normalized, progress=False)
    assert found.unreadable == {"gone.mp4": "is empty"}
    assert found.labels.tolist() == [0, 1, 0, -100]
    assert "1 videos could not be read and are not counted. gone.mp4: is empty" in caplog.text


def test_files_give_the_pipelines_scores_by_the_processors_sampling_and_views(tmp_path):
    processor, views = toy_processor(), {"temporal_views": 2, "spatial_views": 3}
    settings = {"sampling": "strided", "frame_stride": 5, "num_temporal_views": 2, "num_spatial_views": 3}
    for name, value in settings.items():
        setattr(processor.video_processor, name, value)
    for number, name in enumerate(LABELS[:2]):
        (tmp_path / name).mkdir()
        write_rising_video(tmp_path / name / "clip.mp4", num_frames=20 + 15 * number)
    dataset = load_videos(tmp_path, class_names=LABELS[:2])
    found = predict(VitaClip(toy_model()), VideoViews(dataset, processor.video_processor, **views), PROCESSOR)
    classifier = ZeroShotVideoClassificationPipeline(model=toy_model(), processor=processor)
    for logits, row in zip(found.logits, dataset, strict=True):
        scores = {entry["label"]: entry["score"] for entry in classifier(row["video"])}
        assert [scores[name] for name in LABELS] == pytest.approx(logits.softmax(-1).tolist(), abs=1e-5)


def test_scores_that_are_not_finite_are_an_error():
    model = toy_model()
    with torch.no_grad():
        model.visual_projection.weight[0, 0] = float("nan")
    with pytest.raises(ValueError, match="VitaClipModel gives scores that are not finite numbers for 3 of 3 videos"):
        predict(VitaClip(model), toy_data(3), PROCESSOR)


def test_no_clips_are_an_error():
    contender = VitaClip(toy_model())
    with pytest.raises(ValueError, match="no clips"):
        predict_batches(contender, [], None, normalize=normalized)
    with pytest.raises(ValueError, match="no texts"):
        contender.score(torch.zeros(1, 4, 3, 16, 16), None)
