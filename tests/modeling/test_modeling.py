"""What the model does with clips and texts, and what it says about bad ones."""

import inspect
import math

import pytest
import torch
from tolerance import assert_computed_equal
from torch import nn
from toy_vita_clip import (
    ALL_PROMPTS_OFF,
    LABELS,
    NUM_FRAMES,
    save_toy_clip,
    toy_clips,
    toy_config,
    toy_model,
    toy_tokenizer,
)
from transformers import CLIPModel
from transformers.modeling_outputs import ImageClassifierOutput
from transformers.utils import logging

from vita_clip_hf import VitaClipForVideoClassification, VitaClipModel, VitaClipOutput


@pytest.fixture(scope="module")
def model() -> VitaClipModel:
    return toy_model()


@pytest.fixture(scope="module")
def clip_and_bare(tmp_path_factory) -> tuple[CLIPModel, VitaClipModel]:
    """transformers' own CLIP, and ours on the same checkpoint with every prompt off."""
    folder = save_toy_clip(tmp_path_factory.mktemp("clip"))
    id2label = dict(enumerate(LABELS))
    return CLIPModel.from_pretrained(folder), VitaClipModel.from_pretrained(
        folder, id2label=id2label, **ALL_PROMPTS_OFF
    ).eval()


def texts(*names: str) -> dict[str, torch.Tensor]:
    return toy_tokenizer()(list(names), padding=True, return_tensors="pt")


# ---- CLIP, where prompts are off ----


@torch.no_grad()
def test_clip_without_prompts_equals_frame_mean(clip_and_bare):
    clip, bare = clip_and_bare
    clips = toy_clips(3)
    frames = clip.get_image_features(clips.flatten(0, 1)).pooler_output.unflatten(0, (3, NUM_FRAMES))
    video = bare.get_video_features(clips)
    assert_computed_equal(video.frame_embeds, frames)
    assert_computed_equal(video.pooler_output, frames.mean(dim=1))


@torch.no_grad()
def test_one_image_without_prompts_gives_clips_logits(clip_and_bare):
    clip, bare = clip_and_bare
    images, names = toy_clips(3)[:, 0], texts("a ball.", "a long walk in the hills.")
    expected = clip(pixel_values=images, **names)
    found = bare(images, **names)
    assert_computed_equal(found.logits_per_video, expected.logits_per_image)
    assert_computed_equal(found.logits_per_image, expected.logits_per_image)
    assert_computed_equal(found.text_embeds, expected.text_embeds)
    features = clip.get_image_features(images).pooler_output
    assert_computed_equal(bare.get_image_features(images).pooler_output, features)


@torch.no_grad()
def test_classes_without_contexts_are_their_names_and_a_full_stop(clip_and_bare):
    clip, bare = clip_and_bare
    expected = clip.get_text_features(**texts(*(name.replace("_", " ") + "." for name in LABELS))).pooler_output
    assert_computed_equal(bare.get_class_features().pooler_output, expected)


@torch.no_grad()
@pytest.mark.parametrize("padding", [{"padding": True}, {"padding": "max_length", "max_length": 40}])
@pytest.mark.parametrize("masked", [True, False])
def test_texts_equal_clips_whatever_the_padding(clip_and_bare, padding, masked):
    clip, bare = clip_and_bare
    tokens = toy_tokenizer()(["a", "a much longer text"], return_tensors="pt", **padding)
    if not masked:
        del tokens["attention_mask"]
    assert_computed_equal(
        bare.get_text_features(**tokens).pooler_output, clip.get_text_features(**tokens).pooler_output
    )


@torch.no_grad()
def test_all_tokens_equal_clips_hidden_states(clip_and_bare):
    clip, bare = clip_and_bare
    frames, tokens = toy_clips(2).flatten(0, 1), texts("one", "two or three")
    vision = bare.vision_model(frames[:, None], all_tokens=True)
    assert_same_directions(vision.last_hidden_state, clip.vision_model(frames).last_hidden_state)
    text = bare.text_model(**tokens, all_tokens=True)
    assert_same_directions(text.last_hidden_state, clip.text_model(**tokens).last_hidden_state)


def assert_same_directions(found, expected):
    """To 1e-5 of each vector's length: the factors of CLIP's activation are multiplied in another order."""
    length = expected.norm(dim=-1, keepdim=True)
    torch.testing.assert_close(found / length, expected / length, atol=1e-5, rtol=0)


# ---- shapes and forms of input ----


@torch.no_grad()
def test_outputs_have_the_documented_shapes(model):
    outputs = model(toy_clips(2), labels=torch.tensor([0, 2]))
    assert isinstance(outputs, VitaClipOutput)
    assert outputs.logits_per_video.shape == (2, 3)
    assert torch.equal(outputs.logits_per_text, outputs.logits_per_video.t())
    assert outputs.video_embeds.shape == (2, 20)
    assert outputs.text_embeds.shape == (3, 20)
    assert outputs.frame_embeds.shape == (2, NUM_FRAMES, 20)
    expected = nn.functional.cross_entropy(outputs.logits_per_video, torch.tensor([0, 2]))
    torch.testing.assert_close(outputs.loss, expected)
    torch.testing.assert_close(outputs.video_embeds.norm(dim=-1), torch.ones(2))


@torch.no_grad()
def test_a_tuple_is_returned_where_asked_for(model):
    outputs, as_tuple = model(toy_clips()), model(toy_clips(), return_dict=False)
    assert isinstance(as_tuple, tuple)
    assert_computed_equal(as_tuple[0], outputs.logits_per_video)


@torch.no_grad()
def test_a_batch_of_images_is_a_batch_of_clips_of_one_frame(model):
    images = toy_clips(3)[:, 0]
    assert_computed_equal(model(images).logits_per_video, model(images[:, None]).logits_per_video)


@torch.no_grad()
def test_images_that_may_be_the_frames_of_one_clip_are_warned_of_once(model, caplog):
    logging.enable_propagation()
    VitaClipModel.get_video_features.__globals__["logger"].warning_once.cache_clear()
    frames = toy_clips()[0]  # (T, 3, H, W): the batch's dimension was forgotten
    model.get_image_features(frames)
    model.get_video_features(frames[:-1])
    model.get_video_features(frames[None])
    assert "separate images" not in caplog.text
    model(frames)
    model(frames)
    logging.disable_propagation()
    assert caplog.text.count(f"are {len(frames)} separate images") == 1
    assert "pixel_values[None]" in caplog.text


def test_several_views_average_their_probabilities(model):
    views = torch.stack([toy_clips(2, seed=seed) for seed in range(3)], dim=1)
    outputs = model(views)
    each = torch.stack([model(views[:, view]).logits_per_video.softmax(dim=-1) for view in range(3)])
    assert_computed_equal(outputs.logits_per_video.softmax(dim=-1), each.mean(dim=0))
    assert outputs.video_embeds.shape == (2, 3, 20)
    assert outputs.frame_embeds.shape == (2, 3, NUM_FRAMES, 20)


@torch.no_grad()
def test_one_view_is_the_clip_itself(model):
    found, expected = model(toy_clips()[:, None]).logits_per_video, model(toy_clips()).logits_per_video
    assert_computed_equal(found.softmax(dim=-1), expected.softmax(dim=-1))


@torch.no_grad()
def test_zero_shot_texts_use_no_learned_contexts(model):
    tokens = texts("ride bike.", "tai chi.", "swim.")
    expected = model.get_text_features(**tokens).pooler_output
    found = model(toy_clips(), **tokens).text_embeds
    assert_computed_equal(found, nn.functional.normalize(expected, dim=-1))
    assert (found - model(toy_clips()).text_embeds).abs().max() > 0.1


@torch.no_grad()
def test_texts_embedded_before_give_the_same_logits(model):
    tokens = texts("ride bike.", "swim.")
    embeds = model.get_text_features(**tokens).pooler_output
    assert_computed_equal(
        model(toy_clips(), text_embeds=embeds).logits_per_video, model(toy_clips(), **tokens).logits_per_video
    )


@torch.no_grad()
def test_every_frame_sees_the_other_frames_of_its_clip_and_no_other_clip(model):
    clips = toy_clips(2)
    before = model(clips).frame_embeds
    clips[0, 3] += 1
    after = model(clips).frame_embeds
    assert ((after[0] - before[0]).abs().amax(dim=-1) > 1e-3).all()
    assert_computed_equal(after[1], before[1])


@torch.no_grad()
def test_the_order_of_frames_matters(model):
    clips = toy_clips(2)
    assert (model(clips).video_embeds - model(clips.flip(1)).video_embeds).abs().max() > 1e-3


@torch.no_grad()
def test_the_classifier_gives_the_models_logits():
    classifier, model = toy_model(cls=VitaClipForVideoClassification), toy_model()
    outputs = classifier(toy_clips(), labels=torch.tensor([1, 0]))
    assert isinstance(outputs, ImageClassifierOutput)
    assert_computed_equal(outputs.logits, model(toy_clips()).logits_per_video)
    assert_computed_equal(outputs.loss, model(toy_clips(), labels=torch.tensor([1, 0])).loss)


def test_forward_takes_the_video_first():
    assert VitaClipModel.main_input_name == "pixel_values"
    for cls, first in (
        (VitaClipModel, ["self", "pixel_values", "input_ids", "attention_mask", "labels"]),
        (VitaClipForVideoClassification, ["self", "pixel_values", "labels"]),
    ):
        assert list(inspect.signature(cls.forward).parameters)[: len(first)] == first


def test_only_prompts_learn():
    model = toy_model(train_cls_projection=False)
    learned = {name for name, weight in model.named_parameters() if weight.requires_grad}
    model(toy_clips(), labels=torch.tensor([0, 1])).loss.backward()
    assert {name for name, weight in model.named_parameters() if weight.grad is not None} == learned
    parts = ("prompts.local_prompts", "prompts.global_prompts", "prompts.summary_", "temporal_embedding", "contexts")
    assert all(name == "logit_scale" or any(part in name for part in parts) for name in learned)
    assert any(weight.requires_grad for name, weight in toy_model().named_parameters() if "cls_projection" in name)


# ---- bad input ----


@pytest.mark.parametrize("value", [math.nan, math.inf])
def test_pixels_that_are_not_finite_are_reported_with_their_place(model, value):
    clips = toy_clips(2)
    clips[1, 2, 0, 3, 4] = value
    with pytest.raises(ValueError, match=r"NaN or infinite values \(first in clip 1, frame 2\)"):
        model(clips)


@pytest.mark.parametrize("shape", [(2, 4, 1, 16, 16), (2, 4, 16, 16, 3), (2, 4, 16, 16), (4, 3, 16)])
def test_pixels_of_another_shape_are_an_error_that_says_both(model, shape):
    with pytest.raises(ValueError, match=r"clips of shape \(batch, frames, 3, height, width\)") as error:
        model(torch.zeros(shape))
    assert str(shape[-3:])[1:-1] in str(error.value)


@pytest.mark.parametrize("shape", [(0, 4, 3, 16, 16), (2, 0, 3, 16, 16)])
def test_no_clip_and_no_frame_are_errors(model, shape):
    with pytest.raises(ValueError, match="no clip or no frame"):
        model(torch.zeros(shape))


def test_another_resolution_needs_to_be_asked_for(model):
    with pytest.raises(ValueError, match=r"32\*32"):
        model(toy_clips(size=32))


def test_a_model_without_classes_says_how_to_get_some():
    config = toy_config()
    config.label_token_ids = None
    with pytest.raises(ValueError, match=r"no classes.*id2label.*set_labels.*input_ids"):
        VitaClipModel(config)(toy_clips())


def test_texts_and_their_embeddings_exclude_each_other(model):
    with pytest.raises(ValueError, match="either input_ids or text_embeds"):
        model(toy_clips(), text_embeds=torch.zeros(2, 20), **texts("a"))


def test_embedded_tokens_need_the_place_of_their_end(model):
    with pytest.raises(ValueError, match="end_positions"):
        model.text_model(inputs_embeds=torch.zeros(1, 5, 24))
    with pytest.raises(ValueError, match="either input_ids or inputs_embeds"):
        model.text_model()


def test_a_mask_of_queries_and_keys_is_an_error_save_where_nothing_is_cut(model):
    tokens = texts("a", "a longer text")
    length = tokens["input_ids"].shape[1]
    mask = torch.zeros(2, 1, length, length).masked_fill(~torch.ones(length, length, dtype=torch.bool).tril(), -1e9)
    with pytest.raises(ValueError, match=rf"attention_mask must be \(texts, tokens\); found \(2, 1, {length}"):
        model.get_text_features(tokens["input_ids"], mask)
    given = model.text_model(tokens["input_ids"], mask, all_tokens=True).last_hidden_state
    causal = model.text_model(tokens["input_ids"], all_tokens=True).last_hidden_state
    torch.testing.assert_close(given, causal)


def test_a_text_longer_than_the_encoder_takes_is_an_error(model):
    with pytest.raises(ValueError, match="40"):
        model.get_text_features(**texts("a" * 60))
