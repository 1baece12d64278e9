"""`from_pretrained` and `save_pretrained` in the ways that transformers' own models have them."""

import copy
import logging

import pytest
import torch
from PIL import Image
from safetensors.torch import load_file, save_file
from tolerance import assert_computed_equal, assert_stored_equal
from toy_vita_clip import LABELS, randomise, save_toy_clip, toy_clips, toy_config, toy_model, toy_tokenizer
from transformers import (
    AutoModel,
    AutoModelForVideoClassification,
    AutoModelForZeroShotImageClassification,
    BertConfig,
    CLIPImageProcessor,
    CLIPModel,
    pipeline,
)
from transformers.utils import logging as transformers_logging
from vita_clip_hf.modeling.adapter_file_vita_clip import is_prompt
from vita_clip_hf.modeling.text_vita_clip import VitaClipTextModel
from vita_clip_hf.modeling.vision_vita_clip import VitaClipVisionModel, visual_prompt_bound

from vita_clip_hf import VitaClipConfig, VitaClipForVideoClassification, VitaClipModel

ID2LABEL = dict(enumerate(LABELS))


@pytest.fixture(scope="module")
def clip(tmp_path_factory):
    return save_toy_clip(tmp_path_factory.mktemp("clip"))


@pytest.fixture(scope="module")
def full(tmp_path_factory):
    """A full checkpoint with its tokenizer."""
    folder = tmp_path_factory.mktemp("full")
    toy_model().save_pretrained(folder)
    toy_tokenizer().save_pretrained(folder)
    return folder


@pytest.fixture
def warnings_of_transformers(caplog):
    """Log of transformers, which by itself is not passed to pytest."""
    transformers_logging.enable_propagation()
    caplog.set_level(logging.WARNING)
    yield caplog
    transformers_logging.disable_propagation()


@torch.no_grad()
def logits_of(model: VitaClipModel) -> torch.Tensor:
    return model.eval()(toy_clips()).logits_per_video


# ---- a plain CLIP ----


def test_a_plain_clip_gives_its_weights_and_new_prompts_without_a_warning(clip, warnings_of_transformers):
    model, info = VitaClipModel.from_pretrained(clip, id2label=ID2LABEL, num_frames=6, output_loading_info=True)
    theirs = CLIPModel.from_pretrained(clip).state_dict()
    ours = model.state_dict()
    assert all(torch.equal(ours[name], weight) for name, weight in theirs.items())
    assert {name for name in ours if name not in theirs} == {name for name in ours if is_prompt(name)} - {
        "logit_scale"
    }
    assert model.config.label_names == LABELS
    assert model.config.num_frames == 6
    assert model.config.base_model_name_or_path == str(clip)
    assert not info["missing_keys"]
    assert not info["unexpected_keys"]
    assert not [record for record in warnings_of_transformers.records if record.levelno >= logging.WARNING]


def test_prompts_start_as_the_released_code_starts_them(clip):
    model = VitaClipModel.from_pretrained(clip, id2label=ID2LABEL, num_frames=200, num_global_prompts=200)
    bound = visual_prompt_bound(patch_size=8, hidden_size=32)
    assert bound == pytest.approx((6 / (3 * 64 + 32)) ** 0.5)
    prompts = model.vision_model.encoder.layers[1].prompts
    for weights in (prompts.local_prompts, prompts.global_prompts):
        assert weights.abs().max().item() == pytest.approx(bound, rel=0.01)
        assert weights.std().item() == pytest.approx(bound / 3**0.5, rel=0.05)
    assert model.vision_model.embeddings.temporal_embedding.std().item() == pytest.approx(0.02, rel=0.1)
    assert model.class_prompts.contexts.std().item() == pytest.approx(0.02, rel=0.1)
    assert prompts.cls_projection.weight.abs().max().item() == pytest.approx(32**-0.5, rel=0.01)


def test_contexts_can_start_from_words(clip):
    model = VitaClipModel.from_pretrained(clip, id2label=ID2LABEL, text_prompt_init="a b")
    ids = torch.tensor(toy_tokenizer()("a b", add_special_tokens=False)["input_ids"])
    words = model.text_model.embeddings.token_embedding(ids)
    assert torch.equal(model.class_prompts.contexts[:, :2], words.expand(3, -1, -1))
    with pytest.raises(ValueError, match=r"1 to 8 tokens; 'abcdefghijk' makes 11"):
        VitaClipModel.from_pretrained(clip, id2label=ID2LABEL, text_prompt_init="abcdefghijk")


def test_labels_may_be_given_either_way_round(clip):
    model = VitaClipModel.from_pretrained(clip, label2id={name: index for index, name in ID2LABEL.items()})
    assert model.config.label_names == LABELS
    with pytest.raises(ValueError, match=r"must be 0 to 1; found \['1', '3'\]"):
        VitaClipModel.from_pretrained(clip, id2label={1: "a", 3: "b"})


def test_a_placeholder_of_transformers_is_no_name_of_a_class(clip, full):
    for folder in (clip, full):
        with pytest.raises(ValueError, match="'LABEL_0' is a placeholder of transformers"):
            VitaClipModel.from_pretrained(folder, id2label={0: "LABEL_0", 1: "LABEL_1"})
    with pytest.raises(ValueError, match="'LABEL_1' is a placeholder"):
        toy_model().set_labels(["swim", "LABEL_1"], toy_tokenizer())


@pytest.mark.parametrize("fields", [{"text_prompt_scope": "unified"}, {"text_prompt_length": 0}])
def test_words_for_contexts_of_single_classes_are_refused_where_there_are_none(fields):
    with pytest.raises(ValueError, match="context_words='a b' start contexts of single classes"):
        toy_model(**fields).set_labels(["x"], toy_tokenizer(), context_words="a b")


def test_a_configuration_with_names_is_as_good_as_names(clip):
    config = VitaClipConfig.from_pretrained(clip, id2label=ID2LABEL)
    model = VitaClipModel.from_pretrained(clip, config=config, num_frames=5)
    assert model.config.label_names == LABELS
    assert len(model.class_prompts.label_token_ids) == len(LABELS)
    assert model.config.num_frames == 5


def test_a_class_name_longer_than_the_context_is_named(clip):
    long = "a very long name of a class that nobody can read"
    with pytest.raises(ValueError, match=rf"Class '{long}' is \d+ tokens long.*takes 40"):
        VitaClipModel.from_pretrained(clip, id2label={0: "swim", 1: long})


@pytest.mark.parametrize("labels", [{0: "a", 1: "a"}, {0: "a", 1: ""}, {}])
def test_bad_labels_are_errors(clip, labels):
    with pytest.raises(ValueError, match=r"[Ll]abels"):
        VitaClipModel.from_pretrained(clip, id2label=labels)


def test_zero_frames_are_an_error(clip):
    with pytest.raises(ValueError, match="num_frames must be at least 1, found 0"):
        VitaClipModel.from_pretrained(clip, num_frames=0)


def test_a_model_of_another_kind_is_an_error(tmp_path):
    BertConfig().save_pretrained(tmp_path)
    with pytest.raises(ValueError, match="'bert'; expected a CLIP or a Vita-CLIP"):
        VitaClipModel.from_pretrained(tmp_path)


def test_nothing_where_a_model_should_be_is_an_error(tmp_path):
    with pytest.raises(OSError, match=r"config\.json"):
        VitaClipModel.from_pretrained(tmp_path)


# ---- a full checkpoint ----


def test_a_full_checkpoint_gives_the_same_weights_and_logits(full):
    for cls in (VitaClipModel, AutoModel, AutoModelForZeroShotImageClassification):
        loaded = cls.from_pretrained(full)
        assert_stored_equal(loaded.state_dict(), toy_model().state_dict())
        assert_computed_equal(logits_of(loaded), logits_of(toy_model()))
    classifier = AutoModelForVideoClassification.from_pretrained(full)
    assert isinstance(classifier, VitaClipForVideoClassification)
    with torch.no_grad():
        assert_computed_equal(classifier.eval()(toy_clips()).logits, logits_of(toy_model()))


def test_transformers_zero_shot_image_pipeline_takes_an_image_for_a_clip_of_one_frame(full):
    image_processor = CLIPImageProcessor(size={"shortest_edge": 16}, crop_size={"height": 16, "width": 16})
    model = AutoModelForZeroShotImageClassification.from_pretrained(full)
    parts = {"model": model, "tokenizer": toy_tokenizer(), "image_processor": image_processor}
    image = Image.new("RGB", (20, 16), (200, 60, 30))
    results = pipeline("zero-shot-image-classification", **parts)(
        image, candidate_labels=["red", "green"], hypothesis_template="{}."
    )
    with torch.no_grad():
        pixel_values = image_processor(image, return_tensors="pt")["pixel_values"]
        tokens = toy_tokenizer()(["red.", "green."], padding=True, return_tensors="pt")
        scores = model(pixel_values, **tokens).logits_per_video.softmax(dim=-1)[0].tolist()
    assert {row["label"]: row["score"] for row in results} == pytest.approx(
        dict(zip(("red", "green"), scores, strict=True))
    )


def test_a_full_checkpoint_is_safetensors_only(full):
    names = {path.name for path in full.iterdir()}
    assert "model.safetensors" in names
    assert not [name for name in names if name.endswith((".bin", ".pt", ".pth"))]
    assert load_file(full / "model.safetensors").keys() == toy_model().state_dict().keys()


def test_missing_prompts_of_a_full_checkpoint_are_an_error_or_reported(full, tmp_path, warnings_of_transformers):
    lost = "vision_model.encoder.layers.1.prompts.local_prompts"
    folder = copy_with(full, tmp_path, lambda tensors: tensors.pop(lost))
    with pytest.raises(ValueError, match=rf"does not hold a whole model: missing \['{lost}'\]"):
        VitaClipModel.from_pretrained(folder)
    _, info = VitaClipModel.from_pretrained(folder, output_loading_info=True)
    assert set(info["missing_keys"]) == {lost}
    assert "MISSING" in warnings_of_transformers.text
    assert "local_prompts" in warnings_of_transformers.text


def test_unexpected_tensors_of_a_full_checkpoint_are_reported(full, tmp_path, warnings_of_transformers):
    folder = copy_with(full, tmp_path, lambda tensors: tensors.update(surprise=torch.zeros(2)))
    _, info = VitaClipModel.from_pretrained(folder, output_loading_info=True)
    assert set(info["unexpected_keys"]) == {"surprise"}
    assert "surprise" in warnings_of_transformers.text


def copy_with(folder, target, change):
    """The checkpoint with other tensors."""
    tensors = load_file(folder / "model.safetensors")
    change(tensors)
    save_file(tensors, target / "model.safetensors", {"format": "pt"})
    (target / "config.json").write_bytes((folder / "config.json").read_bytes())
    return target


def test_values_of_a_full_checkpoint_that_are_not_finite_are_an_error(full, tmp_path):
    name = "text_projection.weight"
    folder = copy_with(full, tmp_path, lambda tensors: tensors[name].view(-1)[3].fill_(torch.nan))
    with pytest.raises(ValueError, match=rf"{tmp_path}: {name} has NaN or infinite values"):
        VitaClipModel.from_pretrained(folder)


def test_shards_load_as_one(tmp_path):
    model = toy_model()
    model.save_pretrained(tmp_path, max_shard_size="50KB")
    assert len(list(tmp_path.glob("model-*.safetensors"))) > 1
    loaded = VitaClipModel.from_pretrained(tmp_path)
    assert_stored_equal(loaded.state_dict(), model.state_dict())
    assert_computed_equal(logits_of(loaded), logits_of(model))


def test_other_labels_and_frames_can_be_asked_for_while_loading(full):
    for cls in (VitaClipModel, AutoModel):
        model = cls.from_pretrained(full, id2label={0: "swim", 1: "a new one"}, num_frames=8)
        assert model.config.label_names == ["swim", "a new one"]
        assert model.vision_model.embeddings.temporal_embedding.shape == (8, 32)
        known = toy_model()
        assert torch.equal(model.class_prompts.contexts[0], known.class_prompts.contexts[LABELS.index("swim")])
        with torch.no_grad():
            expected = known(toy_clips(num_frames=8)).video_embeds
            assert_computed_equal(model.eval()(toy_clips(num_frames=8)).video_embeds, expected)


# ---- where and how weights are held ----


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16, torch.float16])
def test_dtype_is_honoured_and_logits_stay_near(full, dtype):
    model = VitaClipModel.from_pretrained(full, dtype=dtype)
    assert {weight.dtype for weight in model.parameters()} == {dtype}
    logits = logits_of(model)
    assert logits.dtype == torch.float32, "the scale is up to 100, bfloat16 holds a cosine to 1/256"
    if dtype == torch.float32:
        assert_computed_equal(logits, logits_of(toy_model()))
    assert (logits - logits_of(toy_model())).abs().max() < 0.3


def test_dtype_works_on_a_plain_clip(clip):
    model = VitaClipModel.from_pretrained(clip, id2label=ID2LABEL, dtype="bfloat16")
    assert {weight.dtype for weight in model.parameters()} == {torch.bfloat16}


@pytest.mark.parametrize("argument", ["dtype", "torch_dtype"])
def test_dtype_auto_is_that_of_the_file(full, clip, tmp_path, argument):
    toy_model().to(torch.bfloat16).save_pretrained(tmp_path)
    for cls in (VitaClipModel, AutoModel):
        assert cls.from_pretrained(tmp_path, **{argument: "auto"}).dtype == torch.bfloat16
        assert cls.from_pretrained(full, **{argument: "auto"}).dtype == torch.float32
    assert VitaClipModel.from_pretrained(clip, id2label=ID2LABEL, **{argument: "auto"}).dtype == torch.float32


def test_weights_in_memory_load_by_a_state_dict():
    weights = toy_model().state_dict()
    model = VitaClipModel.from_pretrained(None, config=toy_config(), state_dict=weights)
    assert_stored_equal(model.state_dict(), weights)


@torch.no_grad()
def test_a_tower_alone_loads_from_a_clip_and_from_a_full_checkpoint(clip, full):
    whole = CLIPModel.from_pretrained(clip).state_dict()
    for cls, name in ((VitaClipVisionModel, "vision_model"), (VitaClipTextModel, "text_model")):
        of_clip = cls.from_pretrained(clip).state_dict()
        assert all(torch.equal(of_clip[n], whole[f"{name}.{n}"]) for n in of_clip if not is_prompt(n))
        tower, info = cls.from_pretrained(full, output_loading_info=True)
        assert not info["missing_keys"]
        assert_stored_equal(tower.state_dict(), getattr(toy_model(), name).state_dict())
    ids = torch.tensor([[188, 3, 4, 189]])
    expected = toy_model().text_model(ids).pooler_output
    assert_computed_equal(VitaClipTextModel.from_pretrained(full).eval()(ids).pooler_output, expected)


@pytest.mark.parametrize("device_map", ["auto", "cpu", {"": "cpu"}])
def test_device_map_gives_the_same_logits(full, clip, device_map):
    loaded = VitaClipModel.from_pretrained(full, device_map=device_map)
    assert_stored_equal(loaded.state_dict(), toy_model().state_dict())
    assert_computed_equal(logits_of(loaded), logits_of(toy_model()))
    model = VitaClipModel.from_pretrained(clip, id2label=ID2LABEL, device_map=device_map)
    assert logits_of(model).isfinite().all()


@pytest.mark.parametrize("offloaded", ["vision_model", "text_model", "class_prompts", "text_projection"])
def test_weights_offloaded_to_disk_give_the_same_logits(full, tmp_path, offloaded):
    parts = ("vision_model", "text_model", "class_prompts", "visual_projection", "text_projection", "logit_scale")
    places = {part: "disk" if part == offloaded else "cpu" for part in parts}
    model = VitaClipModel.from_pretrained(full, device_map=places, offload_folder=tmp_path)
    assert_computed_equal(logits_of(model), logits_of(toy_model()))


@torch.no_grad()
@pytest.mark.parametrize("scope", ["class", "unified"])
def test_an_offloaded_model_encodes_its_classes(monkeypatch, scope):
    accelerate = pytest.importorskip("accelerate")
    monkeypatch.setattr("vita_clip_hf.modeling.text_vita_clip.GROUP_COST_ON_CPU", 0)  # several groups
    model = toy_model(text_prompt_scope=scope)
    expected = model.get_class_features().pooler_output
    accelerate.cpu_offload(model, execution_device=torch.device("cpu"))
    assert_computed_equal(model.get_class_features().pooler_output, expected)


@pytest.mark.parametrize("backend", ["eager", "sdpa"])
def test_the_attention_backend_can_be_chosen(full, backend):
    model = VitaClipModel.from_pretrained(full, attn_implementation=backend)
    assert model.vision_model.encoder.layers[0].self_attn.config._attn_implementation == backend
    assert model.vision_model.encoder.layers[0].prompts.summary_attn.config._attn_implementation == backend
    assert_computed_equal(logits_of(model), logits_of(toy_model()))


def test_a_model_on_the_meta_device_has_every_shape():
    with torch.device("meta"):
        model = VitaClipModel(toy_config())
    expected = {name: weight.shape for name, weight in toy_model().state_dict().items()}
    assert {name: weight.shape for name, weight in model.state_dict().items()} == expected
    assert all(weight.is_meta for weight in model.parameters())


COMPACT = {"cls_projection_rank": 2, "summary_attention_dim": 8}


@pytest.mark.parametrize("fields", [{}, COMPACT], ids=["full", "compact"])
def test_init_weights_leaves_nothing_uninitialised(fields):
    """As transformers loads: made on the meta device, given memory that was not written to, then initialised."""
    with torch.device("meta"):
        model = VitaClipModel(toy_config(**fields))
    model.to_empty(device="cpu")
    with torch.no_grad():
        for tensor in (*model.parameters(), *model.buffers()):
            tensor.fill_(torch.nan if tensor.is_floating_point() else -1)
    for part in model.modules():
        part._is_hf_initialized = False
    model.init_weights()
    wrong = [name for name, weight in model.named_parameters() if not weight.isfinite().all()]
    wrong += [name for name, buffer in model.named_buffers() if (buffer < 0).any()]
    assert not wrong
    fresh = VitaClipModel(toy_config(**fields))
    for name, buffer in fresh.named_buffers():
        assert torch.equal(dict(model.named_buffers())[name], buffer), name


def test_initialisation_is_deterministic():
    models = []
    for _ in range(2):
        torch.manual_seed(3)
        models.append(VitaClipModel(toy_config()))
    assert_stored_equal(models[1].state_dict(), models[0].state_dict())


def test_a_copy_is_a_model_of_its_own():
    model = toy_model()
    before, weights = logits_of(model), {name: weight.clone() for name, weight in model.state_dict().items()}
    other = copy.deepcopy(model)
    randomise(other, seed=5)
    assert (logits_of(other) - before).abs().max() > 0.01
    assert_stored_equal(model.state_dict(), weights)
    assert_computed_equal(logits_of(model), before)


# ---- names ----

LAYER_WEIGHTS = [
    *(f"{norm}.{kind}" for norm in ("layer_norm1", "layer_norm2") for kind in ("bias", "weight")),
    *(f"mlp.{part}.{kind}" for part in ("fc1", "fc2") for kind in ("bias", "weight")),
    *(f"self_attn.{part}_proj.{kind}" for part in ["k", "out", "q", "v"] for kind in ("bias", "weight")),
]
PROMPT_WEIGHTS = [
    *(f"cls_projection.{kind}" for kind in ("bias", "weight")),
    "global_prompts",
    "local_prompts",
    *(f"summary_attn.{part}_proj.{kind}" for part in ["k", "out", "q", "v"] for kind in ("bias", "weight")),
    *(f"summary_layer_norm.{kind}" for kind in ("bias", "weight")),
]


def test_state_dict_keys_are_pinned():
    """Published checkpoints hold these names: a change of one of them makes all of them unreadable."""
    expected = {"logit_scale", "class_prompts.contexts", "text_projection.weight", "visual_projection.weight"}
    text, vision = "text_model", "vision_model"
    expected |= {f"{text}.embeddings.{part}_embedding.weight" for part in ("token", "position")}
    expected |= {f"{vision}.embeddings.{part}" for part in ("class_embedding", "temporal_embedding")}
    expected |= {f"{vision}.embeddings.{part}_embedding.weight" for part in ("patch", "position")}
    norms = (f"{text}.final_layer_norm", f"{vision}.pre_layrnorm", f"{vision}.post_layernorm")
    expected |= {f"{norm}.{kind}" for norm in norms for kind in ("bias", "weight")}
    for layer in range(3):
        expected |= {f"{tower}.encoder.layers.{layer}.{name}" for tower in (text, vision) for name in LAYER_WEIGHTS}
        expected |= {f"{vision}.encoder.layers.{layer}.prompts.{name}" for name in PROMPT_WEIGHTS}
    assert set(toy_model().state_dict()) == expected
