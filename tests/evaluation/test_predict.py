"""The one loop over clips against the model's own forward."""

import pytest
import torch
from toy_checkpoint import toy_processor
from toy_training import toy_data
from toy_vita_clip import LABELS, toy_model, toy_tokenizer

from vita_clip_hf import VitaClipForVideoClassification
from vita_clip_hf.data import DecodedClips
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


def test_no_clips_are_an_error():
    contender = VitaClip(toy_model())
    with pytest.raises(ValueError, match="no clips"):
        predict_batches(contender, [], None, normalize=normalized)
    with pytest.raises(ValueError, match="no texts"):
        contender.score(torch.zeros(1, 4, 3, 16, 16), None)
