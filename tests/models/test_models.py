"""Each model behind the interface gives the logits that its own library gives."""

import pytest
import torch
from toy_checkpoint import toy_tokenizer
from toy_vita_clip import ALL_PROMPTS_OFF, LABELS, randomise, toy_clip_config, toy_clips, toy_model
from toy_x_clip import toy_x_clip
from transformers import CLIPModel

from vita_clip_hf import (
    EfficientPromptConfig,
    EfficientPromptModel,
    VitaClipForVideoClassification,
    VitaClipModel,
)
from vita_clip_hf.models import ClipMean, EfficientPrompt, VideoFeatures, VitaClip, XClip

TEXTS = ["a dog runs", "a dog sleeps on a sofa", "a dog runs"]
NUM_FRAMES = 4


def tokens_of(texts):
    return toy_tokenizer()(texts, padding=True, return_tensors="pt")


def toy_clip() -> CLIPModel:
    with torch.random.fork_rng():
        torch.manual_seed(0)
        clip = CLIPModel(toy_clip_config())
    randomise(clip)
    return clip.eval()


@pytest.fixture
def clips() -> torch.Tensor:
    return toy_clips(batch=3, num_frames=NUM_FRAMES)


@torch.no_grad()
def test_vita_clip_on_texts_is_its_own_forward(clips):
    model = toy_model()
    contender = VitaClip(model, toy_tokenizer())
    expected = model(clips, **tokens_of(TEXTS))
    video = contender.encode_videos(clips)
    logits = contender.logits(video, contender.encode_texts(TEXTS))
    torch.testing.assert_close(logits, expected.logits_per_video)
    torch.testing.assert_close(video.frame_embeds, expected.frame_embeds)
    torch.testing.assert_close(video.video_embeds, video.frame_embeds.mean(1))


@pytest.mark.parametrize("model_class", [VitaClipModel, VitaClipForVideoClassification])
@torch.no_grad()
def test_vita_clip_on_its_own_classes_is_its_own_forward(clips, model_class):
    model = toy_model(cls=model_class)
    contender = VitaClip(model)
    classes = contender.encode_classes()
    assert len(classes) == len(LABELS)
    assert model.class_features is None
    model.hold_class_features()
    assert contender.encode_classes() is model.class_features
    model.drop_class_features()
    expected = model(clips)
    expected = expected["logits" if "logits" in expected else "logits_per_video"]
    torch.testing.assert_close(contender.logits(contender.encode_videos(clips), classes), expected)


def toy_efficient_prompt() -> EfficientPromptModel:
    clip = toy_clip()
    config = EfficientPromptConfig.from_dict(
        {**clip.config.to_dict(), "model_type": "efficient_prompt"}, num_frames=NUM_FRAMES, num_temporal_heads=4
    )
    config.prefix_length, config.suffix_length = 3, 2
    model = EfficientPromptModel(config)
    model.set_labels(LABELS, toy_tokenizer())
    randomise(model)
    return model.eval()


@torch.no_grad()
def test_efficient_prompt_on_its_own_classes_and_on_texts_is_its_own_forward(clips):
    model = toy_efficient_prompt()
    contender = EfficientPrompt(model, toy_tokenizer())
    video = contender.encode_videos(clips)
    torch.testing.assert_close(contender.logits(video, contender.encode_classes()), model(clips).logits_per_video)
    expected = model(clips, **tokens_of(TEXTS)).logits_per_video
    torch.testing.assert_close(contender.logits(video, contender.encode_texts(TEXTS)), expected)
    torch.testing.assert_close(video.video_embeds, video.frame_embeds.mean(1))
    # By default labels stand alone between the learned vectors, as in training.
    classes = torch.nn.functional.normalize(contender.encode_classes(), dim=-1)
    torch.testing.assert_close(contender.encode_labels(LABELS), classes)


@torch.no_grad()
def test_clip_mean_is_vita_clip_without_prompts(clips):
    clip = toy_clip()
    vita = toy_model(**ALL_PROMPTS_OFF)
    vita.load_state_dict(clip.state_dict(), strict=False)
    results = []
    for contender in (ClipMean(clip, toy_tokenizer()), VitaClip(vita, toy_tokenizer())):
        video = contender.encode_videos(clips)
        results.append(contender.logits(video, contender.encode_labels(LABELS)))
    torch.testing.assert_close(*results, atol=1e-5, rtol=1e-5)


@torch.no_grad()
def test_clip_mean_on_one_frame_is_clips_own_forward(clips):
    clip = toy_clip()
    contender = ClipMean(clip, toy_tokenizer())
    expected = clip(pixel_values=clips[:, 0], **tokens_of(TEXTS)).logits_per_image
    logits = contender.logits(contender.encode_videos(clips[:, :1]), contender.encode_texts(TEXTS))
    torch.testing.assert_close(logits, expected)


@torch.no_grad()
def test_x_clip_is_transformers_own_forward(clips):
    model = toy_x_clip()
    contender = XClip(model, toy_tokenizer())
    expected = model(pixel_values=clips, **tokens_of(TEXTS))
    video = contender.encode_videos(clips)
    text_embeds = contender.encode_texts(TEXTS)
    torch.testing.assert_close(contender.logits(video, text_embeds), expected.logits_per_video)
    assert video.frame_embeds.shape == (3, NUM_FRAMES, 32)
    assert video.patch_embeds.shape == (3, 4, 32)
    torch.testing.assert_close(model.get_video_features(clips).pooler_output, video.video_embeds)
    # The texts' prompts are those of the video: another one's give other logits.
    others = XClip(model).logits(
        type(video)(video.frame_embeds, video.video_embeds, video.patch_embeds.flip(0)), text_embeds
    )
    assert not torch.allclose(others, expected.logits_per_video, atol=1e-3)


def test_x_clip_needs_the_patches():
    features = VideoFeatures(torch.zeros(1, NUM_FRAMES, 32), torch.zeros(1, 32))
    with pytest.raises(TypeError, match="patches"):
        XClip(toy_x_clip()).logits(features, torch.zeros(2, 32))


@torch.no_grad()
def test_labels_stand_in_templates():
    for contender in (ClipMean(toy_clip(), toy_tokenizer()), XClip(toy_x_clip(), toy_tokenizer())):
        one = contender.encode_labels(["ride_bike", "swim"], ["a {}."])
        texts = contender.encode_texts(["a ride bike.", "a swim."])
        normalize = torch.nn.functional.normalize
        torch.testing.assert_close(normalize(one, dim=-1), normalize(texts, dim=-1))
    other = contender.encode_texts(["ride bike", "swim"])
    torch.testing.assert_close(contender.encode_labels(["ride_bike", "swim"], ["a {}.", "{}"]), (one + other) / 2)


@pytest.mark.parametrize("build", [lambda: ClipMean(toy_clip()), lambda: XClip(toy_x_clip())])
def test_a_model_without_classes_or_tokenizer_says_so(build):
    with pytest.raises(ValueError, match="no classes of its own"):
        build().encode_classes()
    with pytest.raises(ValueError, match="no tokenizer"):
        build().encode_texts(["a"])
