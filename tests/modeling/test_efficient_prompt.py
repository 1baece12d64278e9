"""Efficient-Prompt as a model of the house: classes, files, adapters, Auto classes, and the order of frames."""

import json
from pathlib import Path
from typing import Any

import pytest
import torch
from tolerance import assert_computed_equal, assert_stored_equal
from toy_checkpoint import run_without_package, toy_processor, write_rising_video
from toy_vita_clip import LABELS, NUM_FRAMES, randomise, save_toy_clip, toy_clips, toy_tokenizer
from transformers import AutoConfig, AutoModel, AutoModelForVideoClassification, CLIPModel, pipeline
from transformers.utils import logging
from vita_clip_hf.modeling.adapter_file_vita_clip import ADAPTER_FILE, is_prompt, read_adapter
from vita_clip_hf.modeling.labels_vita_clip import embed_labels
from vita_clip_hf.modeling.modeling_efficient_prompt import LOGIT_SCALE

from vita_clip_hf import (
    EfficientPromptConfig,
    EfficientPromptForVideoClassification,
    EfficientPromptModel,
    VitaClipConfig,
    VitaClipModel,
    VitaClipProcessor,
)

FIELDS = {"num_frames": NUM_FRAMES, "num_temporal_heads": 4, "prefix_length": 4, "suffix_length": 3}
NO_PROMPTS = {"num_temporal_layers": 0, "prefix_length": 0, "suffix_length": 0}


@pytest.fixture(scope="module")
def clip(tmp_path_factory) -> Path:
    return save_toy_clip(tmp_path_factory.mktemp("clip"))


def model_on(clip: Path, labels: list[str] | None = None, seed: int = 1, **fields: Any) -> EfficientPromptModel:
    """A model whose learned parts are random and large."""
    id2label = dict(enumerate(LABELS if labels is None else labels))
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        model = EfficientPromptModel.from_pretrained(clip, id2label=id2label, **{**FIELDS, **fields})
    base = {name: tensor.clone() for name, tensor in model.state_dict().items() if not is_prompt(name)}
    randomise(model, seed)
    model.load_state_dict({**base, "logit_scale": torch.tensor(LOGIT_SCALE)}, strict=False)
    return model.eval()


@torch.no_grad()
def logits_of(model: Any) -> torch.Tensor:
    return model.eval()(toy_clips()).logits_per_video


# ---- the model ----


def test_a_clip_checkpoint_starts_a_model_that_learns_vectors_and_the_temporal_transformer(clip):
    model = EfficientPromptModel.from_pretrained(clip, id2label=dict(enumerate(LABELS)), **FIELDS)
    learned = {name for name, weight in model.named_parameters() if weight.requires_grad}
    assert {name.partition(".")[0] for name in learned} == {"temporal_transformer", "class_prompts"}
    assert model.class_prompts.contexts.shape == (40, 24)
    assert model.class_prompts.contexts.std().item() == pytest.approx(0.01, rel=0.1)
    assert model.temporal_transformer.temporal_embedding.std().item() == pytest.approx(0.01, rel=0.25)
    # CLIP's own temperature is another: this one is fixed.
    assert model.logit_scale.exp().item() == pytest.approx(1 / 0.07)
    assert not model.logit_scale.requires_grad
    base = CLIPModel.from_pretrained(clip)
    assert base.logit_scale.item() != pytest.approx(LOGIT_SCALE)
    weights = model.state_dict()
    assert_stored_equal({n: weights[n] for n in base.state_dict() if n != "logit_scale"}, _without_scale(base))


def _without_scale(model: torch.nn.Module) -> dict[str, torch.Tensor]:
    return {name: tensor for name, tensor in model.state_dict().items() if name != "logit_scale"}


def test_class_names_are_tokenized_without_a_full_stop(clip):
    model = model_on(clip)
    assert model.config.label_token_ids == toy_tokenizer()(["ride bike", "tai chi", "swim"])["input_ids"]


def test_all_prompts_off_is_the_mean_of_clips_frames(clip):
    model = EfficientPromptModel.from_pretrained(clip, id2label=dict(enumerate(LABELS)), **{**FIELDS, **NO_PROMPTS})
    base, clips = CLIPModel.from_pretrained(clip).eval(), toy_clips()
    tokens = toy_tokenizer()(["ride bike", "tai chi", "swim"], padding=True, return_tensors="pt")
    with torch.no_grad():
        frames = base.get_image_features(clips.flatten(0, 1)).pooler_output.unflatten(0, clips.shape[:2])
        texts = base.get_text_features(**tokens).pooler_output
        outputs = model.eval()(clips)
    normalize = torch.nn.functional.normalize
    assert_computed_equal(outputs.frame_embeds, frames)
    assert_computed_equal(outputs.video_embeds, normalize(frames.mean(1), dim=-1))
    assert_computed_equal(outputs.text_embeds, normalize(texts, dim=-1))


def test_reversed_clips_differ_and_frames_of_plain_clip_do_not(clip):
    clips, one_way = toy_clips(), model_on(clip)
    blind = model_on(clip, num_temporal_layers=0)
    with torch.no_grad():
        forward, backward = (one_way(c).logits_per_video for c in (clips, clips.flip(1)))
        assert (forward - backward).abs().max() > 0.1
        assert_computed_equal(blind(clips).logits_per_video, blind(clips.flip(1)).logits_per_video)


def test_training_separates_a_pair_that_differs_in_the_order_of_frames_alone(clip):
    """A brightness that rises or falls, like the reversed pairs of Motion Shapes: the same frames in both classes."""
    torch.manual_seed(0)
    model = EfficientPromptModel.from_pretrained(clip, id2label={0: "rise", 1: "fall"}, **FIELDS)
    ramp = torch.linspace(-1, 1, NUM_FRAMES)[None, :, None, None, None]
    generator = torch.Generator().manual_seed(0)

    def pairs(count: int) -> tuple[torch.Tensor, torch.Tensor]:
        rising = ramp + 0.1 * torch.randn(count, NUM_FRAMES, 3, 16, 16, generator=generator)
        return torch.cat([rising, rising.flip(1)]), torch.tensor([0] * count + [1] * count)

    clips, labels = pairs(16)
    optimizer = torch.optim.AdamW([w for w in model.parameters() if w.requires_grad], lr=0.01)
    model.train()
    for _ in range(30):
        optimizer.zero_grad()
        model(clips, labels=labels).loss.backward()
        optimizer.step()
    unseen, labels = pairs(16)
    with torch.no_grad():
        assert (model.eval()(unseen).logits_per_video.argmax(-1) == labels).double().mean() > 0.95


def test_other_numbers_of_frames_views_and_images_are_taken(clip):
    model = model_on(clip)
    with torch.no_grad():
        assert model(toy_clips(num_frames=7)).logits_per_video.shape == (2, 3)
        views = torch.stack([toy_clips(seed=1), toy_clips(seed=2)], dim=1)
        probabilities = model(views).logits_per_video.softmax(-1)
        each = [model(views[:, i]).logits_per_video.softmax(-1) for i in range(2)]
        assert_computed_equal(probabilities, (each[0] + each[1]) / 2)
        assert model(toy_clips()[:, 0]).logits_per_video.shape == (2, 3)
    with pytest.raises(ValueError, match="pixel_values must be clips"):
        model(toy_clips()[:, :, :2])


@torch.no_grad()
def test_images_that_may_be_the_frames_of_one_clip_are_warned_of(clip, caplog):
    logging.enable_propagation()
    VitaClipModel.get_video_features.__globals__["logger"].warning_once.cache_clear()
    model_on(clip)(toy_clips()[0])  # (T, 3, H, W): the batch's dimension was forgotten
    logging.disable_propagation()
    assert f"are {NUM_FRAMES} separate images" in caplog.text


def test_the_video_is_the_mean_of_its_frame_embeds(clip):
    with torch.no_grad():
        video = model_on(clip).get_video_features(toy_clips())
    assert_computed_equal(video.pooler_output, video.frame_embeds.mean(1))


def test_texts_stand_between_the_learned_vectors(clip):
    """A class, the same name as a text however padded, and a label in an empty template have one embedding."""
    model, tokenizer = model_on(clip), toy_tokenizer()
    padded = tokenizer(["ride bike", "tai chi", "swim"], padding=True, return_tensors="pt")
    left = tokenizer(["ride bike", "tai chi", "swim"], padding=True, padding_side="left", return_tensors="pt")
    with torch.no_grad():
        classes = model.get_class_features().pooler_output
        assert_computed_equal(model.get_text_features(**padded).pooler_output, classes)
        assert_computed_equal(model.get_text_features(padded["input_ids"]).pooler_output, classes)
        assert_computed_equal(model.get_text_features(**left).pooler_output, classes)
        by_template = embed_labels(model, tokenizer, LABELS, ["{}"])
        assert_computed_equal(model(toy_clips(), **padded).logits_per_video, logits_of(model))
    assert_computed_equal(by_template, torch.nn.functional.normalize(classes, dim=-1))


def test_a_text_that_is_too_long_is_an_error(clip):
    model = model_on(clip)
    tokens = toy_tokenizer()(["x" * 32], return_tensors="pt")
    with pytest.raises(ValueError, match="takes 33 tokens beside 7 learned vectors"):
        model.get_text_features(**tokens)
    with pytest.raises(ValueError, match="is 34 tokens long; with 7 context vectors"):
        model.set_labels(["x" * 32], toy_tokenizer())
    with pytest.raises(ValueError, match="give no position_ids"):
        model.get_text_features(tokens["input_ids"], position_ids=tokens["input_ids"])


def test_other_labels_keep_the_vectors(clip):
    model = model_on(clip)
    before = model.class_prompts.contexts.detach().clone()
    model.set_labels(["swim", "jump_far"], toy_tokenizer())
    assert torch.equal(model.class_prompts.contexts, before)
    assert model.class_prompts.contexts.requires_grad
    texts = toy_tokenizer()(["swim", "jump far"], padding=True, return_tensors="pt")
    with torch.no_grad():
        expected = model.get_text_features(**texts).pooler_output
        assert_computed_equal(model.get_class_features().pooler_output, expected)
    with pytest.raises(ValueError, match="start contexts of single classes"):
        model.set_labels(LABELS, toy_tokenizer(), context_words="a video of")


def test_held_features_are_those_of_the_classes_and_are_dropped_in_training(clip):
    model = model_on(clip)
    expected = logits_of(model)
    model.hold_class_features()
    assert_computed_equal(logits_of(model), expected)
    model.train()
    assert model.class_features is None


def test_the_base_may_be_stored_in_bfloat16(clip):
    model = model_on(clip)
    expected = logits_of(model)
    model.cast_base(torch.bfloat16)
    assert model.temporal_transformer.temporal_embedding.dtype == torch.float32
    assert model.vision_model.pre_layrnorm.weight.dtype == torch.bfloat16
    model.train()(toy_clips(), labels=torch.tensor([0, 1])).loss.backward()
    assert model.class_prompts.contexts.grad is not None
    assert (logits_of(model) - expected).abs().max() < 1


@pytest.mark.parametrize("settings", [{"use_reentrant": False}, {"use_reentrant": True}])
def test_gradient_checkpointing_changes_no_gradient(clip, settings):
    gradients = []
    for checkpointing in (False, True):
        model = model_on(clip).train()
        if checkpointing:
            model.gradient_checkpointing_enable(settings)
        model(toy_clips(), labels=torch.tensor([0, 1])).loss.backward()
        gradients.append({name: w.grad for name, w in model.named_parameters() if w.requires_grad})
    assert gradients[1].keys() == gradients[0].keys()
    for name, gradient in gradients[0].items():
        assert_computed_equal(gradients[1][name], gradient)


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"num_frames": 0}, "num_frames must be at least 1, found 0"),
        ({"num_temporal_layers": -1}, "num_temporal_layers must be 0 or more, found -1"),
        ({"num_temporal_layers": 10**9}, "num_temporal_layers must be 64 at most, found 1000000000"),
        ({"num_temporal_heads": 3}, "num_temporal_heads=3 does not divide"),
        ({"suffix_length": -2}, "suffix_length must be 0 or more, found -2"),
        ({"prefix_length": 40}, "prefix_length=40 and suffix_length=3 leave no place for a name"),
    ],
)
def test_fields_that_make_no_sense_are_errors(clip, fields, message):
    with pytest.raises(ValueError, match=message):
        EfficientPromptModel.from_pretrained(clip, **{**FIELDS, **fields})


# ---- files ----


def test_an_adapter_holds_what_is_learned_and_loads_alike(clip, tmp_path):
    model = model_on(clip)
    model.save_pretrained(tmp_path)
    tensors, _ = read_adapter(tmp_path / ADAPTER_FILE)
    assert {name.partition(".")[0] for name in tensors} == {"temporal_transformer", "class_prompts", "logit_scale"}
    loaded = EfficientPromptModel.from_pretrained(tmp_path)
    assert_stored_equal(loaded.state_dict(), model.state_dict())
    assert_computed_equal(logits_of(loaded), logits_of(model))
    stored = json.loads((tmp_path / "config.json").read_text())
    assert stored["model_type"] == "efficient_prompt"
    assert "use_summary_token" not in json.dumps(stored)
    assert stored["num_temporal_heads"] == 4
    assert stored["text_config"]["suffix_length"] == 3


@pytest.mark.parametrize("dtype", ["bfloat16", "int8"])
def test_an_adapter_is_stored_in_less(clip, tmp_path, dtype):
    model = model_on(clip)
    model.save_pretrained(tmp_path, adapter_dtype=dtype)
    assert (logits_of(EfficientPromptModel.from_pretrained(tmp_path)) - logits_of(model)).abs().max() < 0.5


def test_a_full_checkpoint_loads_alike(clip, tmp_path):
    model = model_on(clip)
    model.save_pretrained(tmp_path, adapter_only=False)
    assert_computed_equal(logits_of(EfficientPromptModel.from_pretrained(tmp_path)), logits_of(model))


def test_an_adapter_is_not_put_on_another_base(clip, tmp_path):
    model_on(clip).save_pretrained(tmp_path / "adapter")
    other = save_toy_clip(tmp_path / "other", seed=8)
    with pytest.raises(ValueError, match="was trained on another base"):
        EfficientPromptModel.from_pretrained(tmp_path / "adapter", base_model_name_or_path=str(other))


def test_auto_classes_know_it(clip, tmp_path):
    model = model_on(clip)
    model.save_pretrained(tmp_path)
    assert type(AutoConfig.from_pretrained(tmp_path)) is EfficientPromptConfig
    assert type(AutoModel.from_pretrained(tmp_path)) is EfficientPromptModel
    classifier = AutoModelForVideoClassification.from_pretrained(tmp_path)
    assert type(classifier) is EfficientPromptForVideoClassification
    with torch.no_grad():
        outputs = classifier.eval()(toy_clips(), labels=torch.tensor([0, 1]))
    assert_computed_equal(outputs.logits, logits_of(model))
    assert outputs.loss is not None


def test_the_two_models_refuse_each_others_checkpoints(clip, tmp_path):
    model_on(clip).save_pretrained(tmp_path / "efficient")
    vita = VitaClipModel.from_pretrained(clip, id2label=dict(enumerate(LABELS)))
    vita.save_pretrained(tmp_path / "vita")
    with pytest.raises(ValueError, match="'efficient_prompt'; expected a CLIP or a Vita-CLIP"):
        VitaClipModel.from_pretrained(tmp_path / "efficient")
    with pytest.raises(ValueError, match="'vita_clip'; expected a CLIP or a Efficient-Prompt"):
        EfficientPromptModel.from_pretrained(tmp_path / "vita")
    with pytest.raises(ValueError, match="'vita_clip'"):
        model_on(clip).load_adapter(tmp_path / "vita", "other")


def test_frames_and_labels_may_change_as_it_is_loaded(clip, tmp_path):
    model = model_on(clip)
    model.save_pretrained(tmp_path)
    longer = EfficientPromptModel.from_pretrained(tmp_path, num_frames=8)
    assert longer.temporal_transformer.temporal_embedding.shape == (8, 20)
    other = EfficientPromptModel.from_pretrained(tmp_path, id2label={0: "jump"}, tokenizer=toy_tokenizer())
    assert torch.equal(other.class_prompts.contexts, model.class_prompts.contexts)
    assert other.config.label_names == ["jump"]


def test_adapters_are_switched_and_taken_off(clip, tmp_path):
    first, second = model_on(clip), model_on(clip, ["jump", "sing"], seed=2, num_temporal_layers=2, prefix_length=1)
    bare = model_on(clip, num_temporal_layers=0, prefix_length=0, suffix_length=0)
    second.save_pretrained(tmp_path / "second")
    expected = logits_of(first), logits_of(second)
    first.load_adapter(tmp_path / "second", "second")
    assert_computed_equal(logits_of(first), expected[1])
    assert first.config.label_names == ["jump", "sing"]
    first.set_adapter("default")
    assert_computed_equal(logits_of(first), expected[0])
    with first.disable_adapter():
        own_scale = CLIPModel.from_pretrained(clip).logit_scale
        assert first.logit_scale.item() == own_scale.item()
        logits = logits_of(first) / own_scale.exp() * bare.logit_scale.exp()
        assert_computed_equal(logits.detach(), logits_of(bare))
    assert_computed_equal(logits_of(first), expected[0])


def test_a_folder_runs_by_its_own_files_where_the_package_is_not_installed(clip, tmp_path):
    model, adapter = model_on(clip), tmp_path / "adapter"
    model.save_pretrained(adapter)
    toy_processor().save_pretrained(adapter)
    code = """
import json, sys, torch
from transformers import AutoModel, AutoModelForVideoClassification, AutoProcessor
adapter, saved = sys.argv[1:]
clips = torch.randn(2, 4, 3, 16, 16, generator=torch.Generator().manual_seed(0))
model = AutoModel.from_pretrained(adapter, trust_remote_code=True).eval()
AutoProcessor.from_pretrained(adapter, trust_remote_code=True)
model.save_pretrained(saved)
again = AutoModelForVideoClassification.from_pretrained(saved, trust_remote_code=True).eval()
with torch.no_grad():
    logits = [model(clips).logits_per_video.tolist(), again(clips).logits.tolist()]
print(json.dumps([type(model).__module__.split(".")[0], logits]))
"""
    printed = run_without_package(code, adapter, tmp_path / "saved", home=tmp_path / "home")
    module, logits = json.loads(printed.splitlines()[-1])
    assert module == "transformers_modules"
    assert_computed_equal(logits, [logits_of(model).tolist()] * 2)
    assert_stored_equal(EfficientPromptModel.from_pretrained(tmp_path / "saved").state_dict(), model.state_dict())


def test_both_pipelines_run_it(clip, tmp_path):
    """Its own classes, other names between the learned vectors, and transformers' own pipeline."""
    model_on(clip).save_pretrained(tmp_path / "adapter")
    toy_processor().save_pretrained(tmp_path / "adapter")
    video = str(write_rising_video(tmp_path / "video.mp4"))
    zero_shot = pipeline("zero-shot-video-classification", model=str(tmp_path / "adapter"))
    inputs = zero_shot.processor(videos=video, return_tensors="pt")
    with torch.no_grad():
        expected = zero_shot.model(**inputs).logits_per_video.softmax(-1)[0]
    own = {entry["label"]: entry["score"] for entry in zero_shot(video)}
    by_name = {
        entry["label"]: entry["score"] for entry in zero_shot(video, candidate_labels=LABELS, hypothesis_template="{}")
    }
    plain = pipeline("video-classification", model=str(tmp_path / "adapter"))
    theirs = {entry["label"]: entry["score"] for entry in plain(video, top_k=3)}
    for found in (own, by_name, theirs):
        assert_computed_equal([found[label] for label in LABELS], expected)


def test_a_vita_clip_carries_no_file_of_efficient_prompt(clip, tmp_path):
    """Nor one that stood there before."""
    model_on(clip).save_pretrained(tmp_path)
    assert len(list(tmp_path.glob("*_efficient_prompt.py"))) == 2
    VitaClipModel.from_pretrained(clip, id2label=dict(enumerate(LABELS))).save_pretrained(tmp_path)
    assert list(tmp_path.glob("*_efficient_prompt.py")) == []


# ---- the papers' figures that need no data ----


def test_vita_clip_on_vit_b_16_learns_as_many_parameters_as_the_paper_says():
    """38.88 M: T = 8, 400 classes with 16 contexts each, the projection of class tokens learned."""
    config = VitaClipConfig(
        vision_config={"hidden_size": 768, "intermediate_size": 3072, "patch_size": 16},
        text_config={"hidden_size": 512, "text_prompt_length": 16},
        id2label={index: f"class {index}" for index in range(400)},
        label_token_ids=[[49406, 320, 269, 49407]] * 400,
        num_frames=8,
    )
    with torch.device("meta"):
        model = VitaClipModel(config)
    assert round(sum(w.numel() for w in model.parameters() if w.requires_grad) / 1e6, 3) == 38.884


def test_efficient_prompt_on_vit_b_16_learns_five_million_parameters():
    with torch.device("meta"):
        model = EfficientPromptModel(
            EfficientPromptConfig(vision_config={"patch_size": 16}, text_config={}, num_temporal_layers=2)
        )
    width, tables = 512, (77 + 16) * 512
    layer = 4 * (width * width + width) + 2 * 4 * width * width + 5 * width + 4 * width
    assert sum(w.numel() for w in model.parameters() if w.requires_grad) == tables + 2 * layer


def test_the_processor_of_a_saved_adapter_loads(clip, tmp_path):
    model_on(clip).save_pretrained(tmp_path)
    toy_processor().save_pretrained(tmp_path)
    assert VitaClipProcessor.from_pretrained(tmp_path).video_processor.num_frames == NUM_FRAMES
