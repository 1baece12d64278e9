"""Any clip and any CLIP: frame counts, resolutions, published sizes, and checkpoints made by others."""

import pytest
import torch
from tolerance import assert_computed_equal
from toy_vita_clip import (
    ALL_PROMPTS_OFF,
    IMAGE_SIZE,
    LABELS,
    NUM_FRAMES,
    TOWER,
    randomise,
    toy_clip_config,
    toy_clips,
    toy_model,
    toy_tokenizer,
)
from transformers import CLIPConfig, CLIPModel

from vita_clip_hf import VitaClipConfig, VitaClipModel

# Of OpenAI's four: width, layers and heads of the vision tower, patch and image size, width and heads of the text
# tower, joint width; and the parameters that CLIPModel has.
PUBLISHED = {
    "B/32": ((768, 12, 12), (32, 224), (512, 8), 512, 151_277_313),
    "B/16": ((768, 12, 12), (16, 224), (512, 8), 512, 149_620_737),
    "L/14": ((1024, 24, 16), (14, 224), (768, 12), 768, 427_616_513),
    "L/14-336": ((1024, 24, 16), (14, 336), (768, 12), 768, 427_944_193),
}


def published_config(name: str) -> CLIPConfig:
    (width, layers, heads), (patch_size, image_size), (text_width, text_heads), projection_dim, _ = PUBLISHED[name]
    vision = {
        "hidden_size": width,
        "intermediate_size": 4 * width,
        "num_hidden_layers": layers,
        "num_attention_heads": heads,
        "patch_size": patch_size,
        "image_size": image_size,
        "projection_dim": projection_dim,
    }
    text = {
        "hidden_size": text_width,
        "intermediate_size": 4 * text_width,
        "num_attention_heads": text_heads,
        "projection_dim": projection_dim,
    }
    return CLIPConfig(vision_config=vision, text_config=text, projection_dim=projection_dim)


def on_meta(clip: CLIPConfig, num_classes: int = 400, **fields) -> VitaClipModel:
    config = VitaClipConfig(
        **{half: getattr(clip, half) for half in ("text_config", "vision_config")},
        projection_dim=clip.projection_dim,
        id2label={index: f"class {index}" for index in range(num_classes)},
        label_token_ids=[[49406, 320, 269, 49407]] * num_classes,
        **fields,
    )
    with torch.device("meta"):
        return VitaClipModel(config)


# ---- clips ----


@torch.no_grad()
@pytest.mark.parametrize("num_frames", [1, 2, 3, 5, 8, 16])
def test_any_number_of_frames_is_accepted(num_frames):
    outputs = toy_model()(toy_clips(2, num_frames))
    assert outputs.frame_embeds.shape == (2, num_frames, 20)
    assert outputs.logits_per_video.isfinite().all()


@torch.no_grad()
@pytest.mark.parametrize(("num_frames", "nearest"), [(2, [0, 2]), (3, [0, 1, 2]), (6, [0, 0, 1, 2, 2, 3])])
def test_prompts_of_frames_are_resampled_to_the_nearest_in_time(num_frames, nearest):
    model, resampled = toy_model(), toy_model()
    resampled.set_num_frames(num_frames)
    assert resampled.config.num_frames == num_frames
    for ours, theirs in (
        (resampled.vision_model.embeddings.temporal_embedding, model.vision_model.embeddings.temporal_embedding),
        *(
            (a.prompts.local_prompts, b.prompts.local_prompts)
            for a, b in zip(resampled.vision_model.encoder.layers, model.vision_model.encoder.layers, strict=True)
        ),
    ):
        assert torch.equal(ours, theirs[nearest])
        assert ours.requires_grad
    clips = toy_clips(2, num_frames)
    assert_computed_equal(resampled(clips).logits_per_video, model(clips).logits_per_video)


def test_a_model_of_no_frames_is_an_error_and_changes_nothing():
    model = toy_model()
    with pytest.raises(ValueError, match="num_frames must be at least 1, found 0"):
        model.set_num_frames(0)
    assert model.config.num_frames == NUM_FRAMES


@torch.no_grad()
@pytest.mark.parametrize("size", [IMAGE_SIZE, 24, 32])
def test_another_resolution_equals_clips_own_interpolation(size):
    clip = CLIPModel(toy_clip_config()).eval()
    randomise(clip)
    model = toy_model(**ALL_PROMPTS_OFF)
    model.load_state_dict(clip.state_dict())
    clips = toy_clips(2, size=size)
    expected = clip.get_image_features(clips.flatten(0, 1), interpolate_pos_encoding=True).pooler_output
    found = model.get_video_features(clips, interpolate_pos_encoding=True).frame_embeds
    assert_computed_equal(found.flatten(0, 1), expected)
    assert model(clips, interpolate_pos_encoding=True).logits_per_video.shape == (2, 3)


@torch.no_grad()
def test_pixels_that_are_wide_are_accepted_where_interpolation_is_asked_for():
    clips = torch.randn(1, NUM_FRAMES, 3, 16, 32)
    assert toy_model()(clips, interpolate_pos_encoding=True).logits_per_video.isfinite().all()


@torch.no_grad()
def test_the_same_resolution_is_not_changed_by_interpolation():
    model = toy_model()
    found = model(toy_clips(), interpolate_pos_encoding=True).logits_per_video
    assert_computed_equal(found, model(toy_clips()).logits_per_video)


# ---- published sizes ----


@pytest.mark.parametrize("name", PUBLISHED)
def test_published_sizes_have_clips_parameters_and_prompts(name):
    (width, layers, _), _, (text_width, _), _, clip_parameters = PUBLISHED[name]
    model = on_meta(published_config(name))
    with torch.device("meta"):
        clip = CLIPModel(published_config(name)).state_dict()
    ours = {name: weight.shape for name, weight in model.state_dict().items()}
    assert sum(weight.numel() for weight in clip.values()) == clip_parameters
    assert {name: shape for name, shape in ours.items() if name in clip} == {n: w.shape for n, w in clip.items()}
    prompts = sum(shape.numel() for name, shape in ours.items() if name not in clip)
    square = width * width + width
    per_layer = square + 4 * square + 2 * width + 8 * width + 8 * width  # c, summary attention and norm, G, l
    assert prompts == layers * per_layer + 8 * width + 400 * 8 * text_width


def test_vit_b_16_has_the_parameters_of_the_released_model():
    """Measured on the released code: 186.9 M in all, 30.2 M with gradient, 7.1 M in the projections."""
    model = on_meta(published_config("B/16"), train_cls_projection=False)
    sizes = {name: weight.numel() for name, weight in model.named_parameters()}
    learned = sum(weight.numel() for weight in model.parameters() if weight.requires_grad)
    millions = [sum(sizes.values()), learned, sum(n for name, n in sizes.items() if "cls_projection" in name)]
    millions.append(sum(n for name, n in sizes.items() if "summary_attn" in name))
    millions.append(sizes["class_prompts.contexts"])
    assert [round(number / 1e6, 1) for number in millions] == [186.9, 30.2, 7.1, 28.3, 1.6]


# ---- checkpoints made by others ----


def save_clip(folder, config: CLIPConfig) -> CLIPModel:
    clip = CLIPModel(config).eval()
    randomise(clip)
    clip.save_pretrained(folder)
    toy_tokenizer().save_pretrained(folder)
    return clip


def assert_equals_frame_mean(folder, clip: CLIPModel) -> None:
    """With prompts off the model on the checkpoint gives CLIP's logits, averaged over frames before the cosine."""
    model = VitaClipModel.from_pretrained(folder, id2label=dict(enumerate(LABELS)), **ALL_PROMPTS_OFF).eval()
    tokens = toy_tokenizer()(["ride bike.", "tai chi.", "swim."], padding=True, return_tensors="pt")
    with torch.no_grad():
        images = toy_clips(3)[:, 0]
        expected = clip(pixel_values=images, **tokens).logits_per_image
        assert_computed_equal(model(images).logits_per_video, expected)
        assert_computed_equal(model(images, **tokens).logits_per_video, expected)


def test_the_legacy_token_ids_of_openais_checkpoints_are_understood(tmp_path):
    """openai/clip-vit-base-patch16 has eos_token_id 2 in its configuration, by which CLIP means the largest id."""
    clip = save_clip(tmp_path, toy_clip_config(bos_token_id=0, eos_token_id=2, pad_token_id=1))
    assert clip.config.text_config.eos_token_id == 2
    assert_equals_frame_mean(tmp_path, clip)


def test_openclips_form_of_checkpoint_is_understood(tmp_path):
    """Another activation, towers of different depth, another joint width and padding with 0."""
    tokens = {"vocab_size": len(toy_tokenizer()), "max_position_embeddings": 40, "pad_token_id": 0}
    special = {"bos_token_id": toy_tokenizer().bos_token_id, "eos_token_id": toy_tokenizer().eos_token_id}
    text = {**TOWER, "hidden_size": 48, "num_hidden_layers": 2, "hidden_act": "gelu", **tokens, **special}
    vision = {**TOWER, "num_hidden_layers": 4, "hidden_act": "gelu", "image_size": IMAGE_SIZE, "patch_size": 4}
    config = CLIPConfig(text_config=text, vision_config=vision, projection_dim=40)
    assert_equals_frame_mean(tmp_path, save_clip(tmp_path, config))
    model = VitaClipModel.from_pretrained(tmp_path, id2label=dict(enumerate(LABELS))).eval()
    assert model.config.vision_config.hidden_act == "gelu"
    with torch.no_grad():
        assert model(toy_clips(num_frames=8)).logits_per_video.shape == (2, 3)


def test_another_layer_norm_epsilon_reaches_prompts_too(tmp_path):
    config = toy_clip_config()
    config.vision_config.layer_norm_eps = 1e-3
    save_clip(tmp_path, config)
    model = VitaClipModel.from_pretrained(tmp_path, id2label=dict(enumerate(LABELS)))
    assert model.vision_model.encoder.layers[0].prompts.summary_layer_norm.eps == 1e-3
