"""Class features that are held: when they are read, and when they are dropped."""

import copy
import io

import pytest
import torch
from torch import nn
from toy_vita_clip import LABELS, randomise, toy_clips, toy_config, toy_model, toy_tokenizer
from transformers.utils import logging

from vita_clip_hf import VitaClipForVideoClassification, VitaClipModel


@torch.no_grad()
def logits_of(model: nn.Module) -> torch.Tensor:
    return model(pixel_values=toy_clips()).logits_per_video


def count_encodings(model: VitaClipModel) -> list[int]:
    """A list that grows by one whenever the text tower runs."""
    calls: list[int] = []
    model.text_model.register_forward_pre_hook(lambda *_: calls.append(1))
    return calls


def held_model(**fields) -> VitaClipModel:
    model = toy_model(**fields)
    model.hold_class_features()
    return model


def test_held_features_give_the_same_logits_without_the_text_tower():
    model = toy_model()
    expected = logits_of(model)
    calls = count_encodings(model)
    model.hold_class_features()
    for _ in range(3):
        torch.testing.assert_close(logits_of(model), expected, atol=1e-5, rtol=0)
    assert calls == [1]
    with torch.inference_mode():
        assert model.get_class_features().pooler_output is model.class_features


def test_the_classifier_readsheld_class_features():
    model = toy_model(cls=VitaClipForVideoClassification)
    model.hold_class_features()
    calls = count_encodings(model)
    model(toy_clips())
    assert calls == []


def test_features_held_in_inference_mode_serve_gradients_of_the_video_side():
    model = toy_model()
    with torch.inference_mode():
        model.hold_class_features()
    model(toy_clips(), labels=torch.tensor([0, 1])).loss.backward()
    assert model.vision_model.embeddings.temporal_embedding.grad is not None
    assert model.class_prompts.contexts.grad is None, "held features carry no gradient"


def test_without_held_features_each_call_encodes_and_says_once_how_to_avoid_it(caplog):
    logging.enable_propagation()
    VitaClipModel.get_class_features.__globals__["logger"].warning_once.cache_clear()
    model = toy_model()
    calls = count_encodings(model)
    logits_of(model)
    logits_of(model)
    logging.disable_propagation()
    assert len(calls) == 2
    assert caplog.text.count("model.hold_class_features()") == 1


def test_held_features_are_no_part_of_a_checkpoint():
    model = toy_model()
    names = model.state_dict().keys()
    model.hold_class_features()
    assert model.state_dict().keys() == names


def test_copies_hold_features_of_their_own():
    model = held_model()
    stored = io.BytesIO()
    torch.save(model, stored)
    stored.seek(0)
    for copied in (copy.deepcopy(model), torch.load(stored, weights_only=False)):
        assert count_encodings(copied) == []
        torch.testing.assert_close(logits_of(copied), logits_of(model), atol=1e-5, rtol=0)
        assert copied.class_features.data_ptr() != model.class_features.data_ptr()


def test_a_model_in_training_or_without_classes_cannot_hold_features():
    with pytest.raises(ValueError, match=r"the model is in training: call model\.eval"):
        toy_model().train().hold_class_features()
    config = toy_config()
    config.label_token_ids = None
    model = VitaClipModel(config).eval()
    with pytest.raises(ValueError, match="The model has no classes"):
        model.hold_class_features()


CHANGES = {
    "training": lambda model: (model.train(), randomise(model.class_prompts, 1), model.eval()),
    "load_state_dict of a parent": lambda model: nn.Sequential(model).load_state_dict(
        nn.Sequential(toy_model(seed=4)).state_dict()
    ),
    "load_state_dict": lambda model: model.load_state_dict(toy_model(seed=4).state_dict()),
    "a change of precision and back": lambda model: model.to(torch.bfloat16).to(torch.float32),
    "half and float": lambda model: model.half().float(),
    "a base in bfloat16": lambda model: model.cast_base(torch.bfloat16),
    "other labels": lambda model: model.set_labels(["x", "y", "z"], toy_tokenizer()),
    "prompts off": lambda model: model.disable_adapters(),
}


@torch.no_grad()
@pytest.mark.parametrize("change", CHANGES.values(), ids=CHANGES)
def test_held_features_are_dropped_by(change):
    model = held_model()
    before = model.class_features.clone()
    change(model.eval() if model.training else model)
    calls = count_encodings(model)
    after = model.get_class_features().pooler_output
    assert calls == [1]
    assert not torch.equal(after.float(), before)


@torch.no_grad()
def test_features_are_dropped_when_an_adapter_is_put_back_on():
    model = held_model()
    with model.disable_adapter():
        model.hold_class_features()
    calls = count_encodings(model)
    logits_of(model)
    assert calls == [1]


EDITS = {
    # Not a sum with a constant, which layer norms take away.
    "an optimizer's step": lambda model: model.class_prompts.contexts.mul_(2),
    "other frozen weights": lambda model: randomise(model.text_model, 3),
    "a hook": lambda model: model.text_projection.register_forward_hook(lambda module, inputs, output: 2 * output),
    "another module": lambda model: setattr(model.text_model.encoder.layers[0].mlp, "activation_fn", nn.ReLU()),
}


@torch.no_grad()
@pytest.mark.parametrize("edit", EDITS.values(), ids=EDITS)
def test_after_an_edit_of_weights_in_eval_mode_features_are_held_anew_by_another_call(edit):
    model = held_model()
    before = model.class_features.clone()
    edit(model)
    model.hold_class_features()
    after = model.get_class_features().pooler_output
    assert not torch.allclose(after, before, atol=1e-2)
    torch.testing.assert_close(after, model._encode_classes(), atol=1e-5, rtol=0)


# ---- torch.func, torch.compile, torch.export ----


@torch.no_grad()
def test_class_features_follow_the_weights_of_torch_func():
    class Features(nn.Module):
        def __init__(self):
            super().__init__()
            self.model = toy_model()

        def forward(self) -> torch.Tensor:
            return self.model.get_class_features().pooler_output

    module = Features().eval()
    first = module.model.class_prompts.contexts
    sets = torch.stack([first, first + 1])

    def features(contexts: torch.Tensor) -> torch.Tensor:
        return torch.func.functional_call(module, {"model.class_prompts.contexts": contexts}, ())

    together = torch.func.vmap(features)(sets)
    torch.testing.assert_close(together, torch.stack([features(contexts) for contexts in sets]), atol=1e-5, rtol=0)


def test_a_compiled_model_with_held_features_has_no_text_tower():
    torch.compiler.reset()
    model = held_model()
    expected = logits_of(model)
    graphs = []

    def keep(graph, inputs):
        graphs.append(graph)
        return graph.forward

    torch.testing.assert_close(
        logits_of(torch.compile(model, fullgraph=True, backend=keep)), expected, atol=1e-5, rtol=0
    )
    assert graphs
    assert not any(
        "text_model" in str(node.meta.get("nn_module_stack")) for graph in graphs for node in graph.graph.nodes
    )


@torch.no_grad()
def test_an_exported_model_with_held_features_has_no_text_tower():
    model = held_model(cls=VitaClipForVideoClassification)
    expected = model(toy_clips()).logits
    program = torch.export.export(model, (toy_clips(),))
    assert not any("text_model" in str(node.meta.get("nn_module_stack")) for node in program.graph.nodes)
    torch.testing.assert_close(program.module()(toy_clips()).logits, expected, atol=1e-5, rtol=0)


@torch.no_grad()
def test_a_model_that_was_moved_is_exported_with_its_text_tower():
    model = held_model(cls=VitaClipForVideoClassification).double()
    program = torch.export.export(model, (toy_clips().double(),))
    assert any("text_model" in str(node.meta.get("nn_module_stack")) for node in program.graph.nodes)


# ---- peft ----


def peft_model(target: str):
    peft = pytest.importorskip("peft")
    model = toy_model()
    settings = peft.LoraConfig(target_modules=target, init_lora_weights=False)
    return peft, settings, model, peft.get_peft_model(model, settings).eval()


@torch.no_grad()
def test_nothing_is_held_while_layers_of_peft_stand_behind_the_features():
    peft, settings, model, wrapped = peft_model(r"text_model.*\.q_proj")
    model.hold_class_features()
    assert model.class_features is None

    def features() -> torch.Tensor:
        return model.get_class_features().pooler_output.clone()

    first = features()
    with wrapped.disable_adapter():
        bare = features()
    wrapped.add_adapter("other", settings)
    wrapped.set_adapter("other")
    other = features()
    for layer in model.modules():
        if isinstance(layer, peft.tuners.lora.LoraLayer):
            layer.set_scale("other", 3.0)
    scaled = features()
    with peft.helpers.rescale_adapter_scale(model, 0.5):
        rescaled = features()
    for index, one in enumerate((first, bare, other, scaled, rescaled)):
        for another in (first, bare, other, scaled, rescaled)[:index]:
            assert not torch.allclose(one, another, atol=1e-3)


@torch.no_grad()
def test_class_features_follow_an_adapter_of_peft_that_is_swapped_in_place(tmp_path):
    _, _, model, wrapped = peft_model(r"text_model.*\.q_proj")
    hotswap = pytest.importorskip("peft.utils.hotswap")
    model.hold_class_features()
    before = model.get_class_features().pooler_output.clone()
    weights = [weight for name, weight in wrapped.named_parameters() if "lora_" in name]
    for weight in weights:
        weight.mul_(3)
    wrapped.save_pretrained(tmp_path)
    expected = model.get_class_features().pooler_output.clone()
    for weight in weights:
        weight.div_(3)
    torch.testing.assert_close(model.get_class_features().pooler_output, before, atol=1e-4, rtol=0)
    hotswap.hotswap_adapter(wrapped, str(tmp_path), adapter_name="default", torch_device="cpu")
    torch.testing.assert_close(model.get_class_features().pooler_output, expected, atol=1e-4, rtol=0)
    assert not torch.allclose(expected, before, atol=1e-2)


@torch.no_grad()
def test_layers_of_peft_that_come_after_features_were_held_end_their_use():
    peft = pytest.importorskip("peft")
    model = held_model()
    before = model.class_features.clone()
    settings = peft.LoraConfig(target_modules=["q_proj"], init_lora_weights=False)
    peft.inject_adapter_in_model(settings, model.text_model)
    assert not torch.allclose(model.get_class_features().pooler_output, before)
    assert model.class_features is None, "dropped, as the layers may be merged and taken away again"


@torch.no_grad()
def test_features_are_held_beside_peft_on_the_vision_side():
    _, _, model, _ = peft_model(r"vision_model.*encoder.*self_attn\.q_proj")
    model.hold_class_features()
    calls = count_encodings(model)
    logits_of(model)
    assert calls == []
    assert len(LABELS) == len(model.class_features)
