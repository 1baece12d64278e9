"""Several adapters on one base: as if each had been loaded alone, and nothing is copied or lost on the way."""

import copy
import gc
import sys

import pytest
import torch
from tolerance import assert_computed_equal, assert_stored_equal
from toy_checkpoint import toy_adapter_on
from toy_vita_clip import ALL_PROMPTS_OFF, LABELS, NUM_FRAMES, save_toy_clip, toy_clips, toy_model, toy_tokenizer
from transformers import CLIPModel
from vita_clip_hf.modeling.adapter_file_vita_clip import fingerprint

from vita_clip_hf import VitaClipForVideoClassification, VitaClipModel

# One that differs from the default model in every prompt setting and in its labels.
OTHER = {
    "labels": ["jump", "sing"],
    "num_frames": 6,
    "use_temporal_embedding": False,
    "num_global_prompts": 3,
    "local_prompt_condition": "class_token",
    "cls_projection_rank": 2,
    "summary_attention_dim": 8,
    "train_cls_projection": False,
    "text_prompt_length": 3,
    "text_prompt_scope": "unified",
    "text_prompt_position": "middle",
}


def make_other(base) -> VitaClipModel:
    fields = dict(OTHER)
    labels, num_frames = fields.pop("labels"), fields.pop("num_frames")
    model = toy_adapter_on(base, labels, seed=2, **fields)
    model.set_num_frames(num_frames)
    return model


@pytest.fixture(scope="module")
def saved(tmp_path_factory):
    """Two adapters of one base, `a` and `b`, and `foreign`, of another."""
    folder = tmp_path_factory.mktemp("adapters")
    base, other_base = save_toy_clip(folder / "base"), save_toy_clip(folder / "other_base", seed=8)
    toy_adapter_on(base, seed=1).save_pretrained(folder / "a")
    make_other(base).save_pretrained(folder / "b")
    toy_adapter_on(other_base, seed=1).save_pretrained(folder / "foreign")
    return folder


@pytest.fixture
def both(saved):
    model = VitaClipModel.from_pretrained(saved / "a").eval()
    model.load_adapter(saved / "b", adapter_name="b")
    return model


@torch.no_grad()
def logits_of(model) -> torch.Tensor:
    return model.eval()(toy_clips()).logits_per_video


def alone(folder) -> torch.Tensor:
    return logits_of(VitaClipModel.from_pretrained(folder))


def test_switching_gives_what_each_gives_alone(saved, both):
    models = {"default": VitaClipModel.from_pretrained(saved / "a"), "b": VitaClipModel.from_pretrained(saved / "b")}
    expected = {name: logits_of(model) for name, model in models.items()}
    for switch in range(100):
        name = ("default", "b")[switch % 2]
        both.set_adapter(name)
        assert_computed_equal(logits_of(both), expected[name])
        assert_stored_equal(both.state_dict(), models[name].state_dict())


def test_the_one_that_was_loaded_last_is_active(saved, both):
    assert both.active_adapters() == ["b"]
    assert both.adapter_names == ["b", "default"]
    assert_computed_equal(logits_of(both), alone(saved / "b"))


def test_the_configuration_follows_the_active_adapter(saved, both):
    def fields(model):
        config = model.config.to_dict()
        return {key: value for key, value in config.items() if key not in ("base_model_fingerprint", "dtype")}

    for name, folder in (("default", "a"), ("b", "b"), ("default", "a")):
        both.set_adapter(name)
        expected = VitaClipModel.from_pretrained(saved / folder)
        assert fields(both) == fields(expected)
        assert both.state_dict().keys() == expected.state_dict().keys()
        learned = [name for name, weight in expected.named_parameters() if weight.requires_grad]
        assert [name for name, weight in both.named_parameters() if weight.requires_grad] == learned


def test_switching_puts_back_the_same_weights_and_copies_none(both):
    both.set_adapter("default")
    first = {name: weight.data_ptr() for name, weight in both.named_parameters()}
    both.set_adapter("b")
    both.set_adapter("default")
    assert {name: weight.data_ptr() for name, weight in both.named_parameters()} == first


def test_memory_is_flat_over_many_switches(both):
    def tensors() -> int:
        gc.collect()
        return sum(issubclass(type(thing), torch.Tensor) for thing in gc.get_objects())

    def switch(times: int) -> None:
        for number in range(times):
            both.set_adapter(("default", "b")[number % 2])
            logits_of(both)

    switch(4)
    before = tensors()
    switch(100)
    assert tensors() <= before


def test_saving_writes_the_active_adapter(saved, both, tmp_path):
    for name, folder in (("default", "a"), ("b", "b")):
        both.set_adapter(name)
        both.save_pretrained(tmp_path / name)
        written, read = (VitaClipModel.from_pretrained(path) for path in (tmp_path / name, saved / folder))
        assert_stored_equal(written.state_dict(), read.state_dict())
        assert_computed_equal(logits_of(written), logits_of(read))


def test_each_adapter_is_trained_on_its_own(saved, both):
    both.set_adapter("default")
    optimizer = torch.optim.SGD([weight for weight in both.parameters() if weight.requires_grad], lr=0.1)
    both.train()(toy_clips(), labels=torch.tensor([0, 1])).loss.backward()
    optimizer.step()
    assert (logits_of(both) - alone(saved / "a")).abs().max() > 0.01
    both.set_adapter("b")
    assert_computed_equal(logits_of(both), alone(saved / "b"))
    assert all(weight.grad is None for weight in both.parameters() if weight.requires_grad)


def test_one_that_is_not_to_be_trained_gets_no_gradients(saved):
    model = VitaClipModel.from_pretrained(saved / "a")
    model.load_adapter(saved / "b", "b", is_trainable=False)
    assert not any(weight.requires_grad for weight in model.parameters())
    model.set_adapter("default")
    assert model.logit_scale.requires_grad


def test_all_adapters_go_where_the_model_goes(saved, both):
    both.set_adapter("default")
    both.to(torch.bfloat16)
    both.set_adapter("b")
    assert {weight.dtype for weight in both.parameters()} == {torch.bfloat16}
    expected = VitaClipModel.from_pretrained(saved / "b", dtype=torch.bfloat16)
    assert_stored_equal(both.state_dict(), expected.state_dict())
    assert_computed_equal(logits_of(both), logits_of(expected), torch.bfloat16)


def test_the_attention_backend_holds_for_all_adapters(saved, both):
    both.set_attn_implementation("eager")
    both.set_adapter("default")
    assert both.vision_model.encoder.layers[0].prompts.summary_attn.config._attn_implementation == "eager"
    expected = VitaClipModel.from_pretrained(saved / "a", attn_implementation="eager")
    assert_computed_equal(logits_of(both), logits_of(expected))


def test_training_mode_holds_for_all_adapters(both):
    both.eval().set_adapter("default")
    both.train().set_adapter("b")
    assert all(part.training for part in both.modules())


def test_other_labels_belong_to_the_adapter_that_got_them(saved, both):
    both.set_labels(["x"], toy_tokenizer())
    both.set_adapter("default")
    assert both.config.label_names == LABELS
    both.set_adapter("b")
    assert both.config.label_names == ["x"]


def test_a_copy_has_adapters_of_its_own(saved, both):
    other = copy.deepcopy(both)
    other.set_adapter("default")
    with torch.no_grad():
        other.class_prompts.contexts.zero_()
    both.set_adapter("default")
    assert_computed_equal(logits_of(both), alone(saved / "a"))
    assert other.vision_model.encoder.layers[0].prompts.config is other.config.vision_config


def test_a_full_checkpoint_takes_adapters_of_its_base(saved, tmp_path):
    VitaClipModel.from_pretrained(saved / "a").save_pretrained(tmp_path / "full", adapter_only=False)
    model = VitaClipModel.from_pretrained(tmp_path / "full")
    model.load_adapter(saved / "b", "b")
    assert_computed_equal(logits_of(model), alone(saved / "b"))


def test_the_classifier_switches_too(saved):
    model = VitaClipForVideoClassification.from_pretrained(saved / "a").eval()
    model.load_adapter(saved / "b", "b")
    with torch.no_grad():
        assert_computed_equal(model(toy_clips()).logits, alone(saved / "b"))


# ---- none ----


@torch.no_grad()
def test_without_adapters_it_is_the_base_averaged_over_frames(saved, both):
    clip = CLIPModel.from_pretrained(saved / "base")
    expected = VitaClipModel.from_pretrained(
        saved / "base", id2label=dict(enumerate(OTHER["labels"])), **ALL_PROMPTS_OFF
    )
    frames = clip.get_image_features(toy_clips().flatten(0, 1)).pooler_output.unflatten(0, (2, NUM_FRAMES))
    with both.disable_adapter():
        assert both.active_adapters() == []
        assert_computed_equal(logits_of(both), logits_of(expected))
        assert_computed_equal(both.get_video_features(toy_clips()).pooler_output, frames.mean(dim=1))
        assert fingerprint(both.state_dict()) == fingerprint(clip.state_dict())
        assert torch.equal(both.logit_scale, clip.logit_scale)
    assert both.active_adapters() == ["b"]
    assert_computed_equal(logits_of(both), alone(saved / "b"))


def test_the_adapter_comes_back_after_an_error(both):
    with pytest.raises(KeyError), both.disable_adapter():
        raise KeyError
    assert both.active_adapters() == ["b"]


def test_disabling_twice_is_disabling_once(saved, both):
    with both.disable_adapter(), both.disable_adapter():
        assert both.active_adapters() == []
    assert both.active_adapters() == ["b"]
    both.disable_adapters()
    both.enable_adapters()
    both.enable_adapters()
    assert_computed_equal(logits_of(both), alone(saved / "b"))


def test_new_prompts_on_a_plain_clip_can_be_put_off_too(saved):
    model = toy_adapter_on(saved / "base")
    before = logits_of(model)
    with model.disable_adapter():
        assert (logits_of(model) - before).abs().max() > 0.01
    assert_computed_equal(logits_of(model), before)


# ---- errors, after which the model is as it was ----


def test_an_adapter_of_another_base_is_an_error(saved, both):
    before, config = logits_of(both), both.config.to_dict()
    with pytest.raises(ValueError, match="trained on another base"):
        both.load_adapter(saved / "foreign", "foreign")
    assert_computed_equal(logits_of(both), before)
    assert both.config.to_dict() == config
    assert (both.adapter_names, both.active_adapters()) == (["b", "default"], ["b"])


def test_a_name_is_given_once(saved, both):
    for name in ("b", "default", None):
        with pytest.raises(ValueError, match=r"There is an adapter '(b|default)' already"):
            both.load_adapter(saved / "b", name)


def test_an_unknown_name_is_an_error_that_lists_the_known(both):
    for call in (both.set_adapter, both.delete_adapter):
        with pytest.raises(ValueError, match="There is no adapter 'c'; loaded are 'b', 'default'"):
            call("c")


def test_the_active_adapter_cannot_be_deleted_and_others_can(saved, both):
    with pytest.raises(ValueError, match="'b' is active"):
        both.delete_adapter("b")
    both.set_adapter("default")
    both.delete_adapter("b")
    assert both.adapter_names == ["default"]
    assert_computed_equal(logits_of(both), alone(saved / "a"))
    both.load_adapter(saved / "b", "b")
    assert_computed_equal(logits_of(both), alone(saved / "b"))


def test_a_folder_without_an_adapter_is_an_error(saved, both, tmp_path):
    with pytest.raises(OSError, match=r"has no adapter_model\.safetensors"):
        both.load_adapter(saved / "base", "base")


def test_arguments_of_peft_are_an_error(saved, both):
    with pytest.raises(ValueError, match="found peft_config"):
        both.load_adapter(saved / "b", "c", peft_config={})


def test_only_the_active_adapters_tensors_are_given_out(both):
    assert both.get_adapter_state_dict("b").keys() == both.get_adapter_state_dict().keys()
    assert "class_prompts.contexts" in both.get_adapter_state_dict()
    with pytest.raises(ValueError, match="active adapter is 'b'"):
        both.get_adapter_state_dict("default")


def test_nothing_of_this_needs_peft(saved, monkeypatch):
    monkeypatch.setitem(sys.modules, "peft", None)
    model = VitaClipModel.from_pretrained(saved / "a")
    model.load_adapter(saved / "b", "b")
    model.set_adapter(["default"])
    assert_computed_equal(logits_of(model), alone(saved / "a"))


def test_a_model_with_random_weights_has_one_adapter():
    assert toy_model().adapter_names == ["default"]
