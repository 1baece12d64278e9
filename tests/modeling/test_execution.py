"""The same results however the model is run: attention backends, precision, checkpointing, compilation, replicas."""

import copy
import io
import shutil
import sys
import weakref

import pytest
import torch
from torch import nn
from toy_vita_clip import ALL_PROMPTS_OFF, LABELS, NUM_FRAMES, randomise, toy_clips, toy_model, toy_tokenizer

from vita_clip_hf import VitaClipForVideoClassification, VitaClipModel

LAYERS, HEADS, TOKENS, WIDTH = 3, 4, 5, 32  # of the toy's vision tower; a class token and four patches
PROMPTS = 1 + 8 + NUM_FRAMES  # summary, global, local
TEXT = {"input_ids": toy_tokenizer()(["ab.", "abcdef."], padding=True, return_tensors="pt")["input_ids"]}


@torch.no_grad()
def logits_of(model: nn.Module, batch: int = 2) -> torch.Tensor:
    return model(pixel_values=toy_clips(batch)).logits_per_video


# ---- attention backends and what they show ----


@torch.no_grad()
@pytest.mark.parametrize("backend", ["eager", "sdpa", "flex_attention"])
def test_every_attention_backend_gives_the_same_logits(backend):
    model, clips = toy_model(), toy_clips()
    model.set_attn_implementation("eager")
    expected, expected_text = model(clips).logits_per_video, model(clips, **TEXT).logits_per_video
    model.set_attn_implementation(backend)
    with torch.compiler.set_stance("force_eager"):  # transformers compiles flex attention, for a minute; it need not
        found, found_text = model(clips).logits_per_video, model(clips, **TEXT).logits_per_video
    torch.testing.assert_close(found, expected, atol=1e-5, rtol=0)
    torch.testing.assert_close(found_text, expected_text, atol=1e-5, rtol=0)


@torch.no_grad()
def test_hidden_states_have_the_documented_shapes():
    model = toy_model()
    vision = model(toy_clips(2), output_hidden_states=True).vision_model_output
    assert [tuple(state.shape) for state in vision.hidden_states] == [
        *[(2 * NUM_FRAMES, TOKENS, WIDTH)] * LAYERS,
        (2 * NUM_FRAMES, 1, WIDTH),
    ]
    assert torch.equal(vision.hidden_states[-1], vision.last_hidden_state)
    whole = model.get_video_features(toy_clips(2), output_hidden_states=True, all_tokens=True)
    assert whole.hidden_states[-1].shape == (2 * NUM_FRAMES, TOKENS, WIDTH)
    torch.testing.assert_close(whole.hidden_states[-1][:, :1], vision.hidden_states[-1])
    text = model.get_text_features(**TEXT, output_hidden_states=True)
    assert [state.shape[1] for state in text.hidden_states] == [9, 9, 9, 1]


@torch.no_grad()
def test_attentions_have_the_documented_shapes_and_sum_to_one():
    model = toy_model(cls=VitaClipForVideoClassification)
    model.set_attn_implementation("eager")
    attentions = model(toy_clips(2), output_attentions=True).attentions
    keys = TOKENS + PROMPTS
    assert [tuple(weights.shape) for weights in attentions] == [
        *[(2 * NUM_FRAMES, HEADS, TOKENS, keys)] * (LAYERS - 1),
        (2 * NUM_FRAMES, HEADS, 1, keys),
    ]
    for weights in attentions:
        torch.testing.assert_close(weights.sum(dim=-1), torch.ones(weights.shape[:-1]))


# ---- precision ----


@torch.no_grad()
@pytest.mark.parametrize("backend", ["eager", "sdpa"])
@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
def test_half_precision_stays_near_float32(backend, dtype):
    model = toy_model()
    expected = model(toy_clips()).video_embeds
    model.to(dtype).set_attn_implementation(backend)
    found = model(toy_clips()).video_embeds.float()
    assert nn.functional.cosine_similarity(found, expected).min() > (0.99 if dtype == torch.bfloat16 else 0.9999)
    assert model(toy_clips(), **TEXT).logits_per_video.isfinite().all()


def test_autocast_trains_in_bfloat16_with_float32_prompts():
    model = toy_model().train()
    with torch.autocast("cpu", dtype=torch.bfloat16):
        loss = model(toy_clips(), labels=torch.tensor([0, 1])).loss
    loss.backward()
    assert loss.dtype == torch.float32
    gradients = [weight.grad for weight in model.parameters() if weight.requires_grad]
    assert all(gradient is not None and gradient.dtype == torch.float32 for gradient in gradients)


def test_the_same_input_gives_the_same_bits():
    model = toy_model()
    assert torch.equal(logits_of(model), logits_of(model))
    gradients = []
    for _ in range(2):
        model.zero_grad()
        model.train()(toy_clips(), labels=torch.tensor([0, 1])).loss.backward()
        gradients.append(torch.cat([weight.grad.flatten() for weight in model.parameters() if weight.requires_grad]))
    assert torch.equal(*gradients)


# ---- gradient checkpointing ----


def gradients(model: nn.Module) -> dict[str, torch.Tensor]:
    model.train()(toy_clips(), labels=torch.tensor([0, 1])).loss.backward()
    return {name: weight.grad for name, weight in model.named_parameters() if weight.requires_grad}


@pytest.mark.parametrize("use_reentrant", [False, True])
def test_gradient_checkpointing_gives_the_same_gradients(use_reentrant):
    model = toy_model().train()
    gradients = []
    for checkpointing in (False, True):
        if checkpointing:
            model.gradient_checkpointing_enable({"use_reentrant": use_reentrant})
        model.zero_grad()
        model(toy_clips(), labels=torch.tensor([0, 1])).loss.backward()
        gradients.append({name: w.grad for name, w in model.named_parameters() if w.requires_grad})
    plain, checkpointed = gradients
    for name, gradient in plain.items():
        torch.testing.assert_close(checkpointed[name], gradient, msg=name)


@pytest.mark.parametrize("fields", [{}, {"use_summary_token": False, "use_local_prompts": False}], ids=str)
def test_reentrant_checkpointing_trains_every_prompt_without_a_temporal_embedding(fields):
    model = toy_model(use_temporal_embedding=False, **fields).train()
    model.gradient_checkpointing_enable({"use_reentrant": True})
    found, expected = gradients(model), gradients(toy_model(use_temporal_embedding=False, **fields))
    for name, gradient in expected.items():
        torch.testing.assert_close(found[name], gradient, msg=name)


@pytest.mark.parametrize(
    ("use_reentrant", "switches"), [(True, ALL_PROMPTS_OFF), (False, {"use_temporal_embedding": False})]
)
def test_clips_get_no_graph_that_nothing_needs(use_reentrant, switches):
    model = toy_model(**switches).train()
    model.gradient_checkpointing_enable({"use_reentrant": use_reentrant})
    seen = []
    layer = model.vision_model.encoder.layers[0]
    layer.register_forward_pre_hook(lambda module, inputs: seen.append(inputs[0].requires_grad))
    model.get_video_features(toy_clips())
    assert seen == [False]


# ---- compilation ----


@torch.no_grad()
def test_compiled_whole_without_a_recompilation_over_batch_sizes():
    torch.compiler.reset()
    torch._dynamo.utils.counters.clear()
    model = toy_model()
    compiled = torch.compile(model, backend="eager", fullgraph=True)
    for batch in (1, 2):  # torch makes the batch size symbolic when it meets a second one
        logits_of(compiled, batch)
    warm = torch._dynamo.utils.counters["stats"]["unique_graphs"]
    for batch in range(1, 9):
        torch.testing.assert_close(logits_of(compiled, batch), logits_of(model, batch))
    assert torch._dynamo.utils.counters["stats"]["unique_graphs"] == warm
    assert not torch._dynamo.utils.counters["graph_break"]


@pytest.mark.parametrize("bf16", [False, True])
def test_compiled_training_gives_the_same_gradients(bf16):
    torch.compiler.reset()
    model = toy_model(num_layers=2).train()
    gradients = []
    for forward in (model, torch.compile(model, backend="aot_eager", fullgraph=True)):
        model.zero_grad()
        with torch.autocast("cpu", torch.bfloat16, enabled=bf16):
            loss = forward(pixel_values=toy_clips(), labels=torch.tensor([0, 1])).loss
        loss.backward()
        gradients.append({name: w.grad for name, w in model.named_parameters() if w.requires_grad})
    if bf16:  # rounds elsewhere
        eager, compiled = (torch.cat([gradient.flatten() for gradient in own.values()]) for own in gradients)
        assert nn.functional.cosine_similarity(eager, compiled, dim=0) > 0.99
        return
    for name, gradient in gradients[0].items():
        torch.testing.assert_close(gradients[1][name], gradient, atol=1e-5, rtol=1e-4, msg=name)


@torch.no_grad()
@pytest.mark.skipif(shutil.which("g++") is None or sys.platform == "win32", reason="inductor needs g++")
def test_compiled_to_machine_code_gives_the_same_embeddings():
    torch.compiler.reset()
    model = toy_model(num_layers=1)
    text_embeds = model.get_class_features().pooler_output
    compiled = torch.compile(model, fullgraph=True, dynamic=False)
    found = compiled(pixel_values=toy_clips(), text_embeds=text_embeds).logits_per_video
    torch.testing.assert_close(found, logits_of(model), atol=1e-5, rtol=0)


# ---- several devices ----


def replicate(model: nn.Module) -> nn.Module:
    """What `DataParallel` makes for each device: modules whose weights are no parameters any more."""
    replicas = {module: module._replicate_for_data_parallel() for module in model.modules()}
    for module, replica in replicas.items():
        for name, child in module._modules.items():
            replica._modules[name] = None if child is None else replicas[child]
        for name, weight in module._parameters.items():
            if weight is None:
                replica._parameters[name] = None
            else:
                setattr(replica, name, weight.clone())
    return replicas[model]


@pytest.mark.parametrize("base_dtype", [torch.float32, torch.bfloat16])
def test_replicas_of_data_parallel_give_logits_and_gradients(base_dtype):
    model = toy_model()
    model.cast_base(base_dtype)
    expected = logits_of(model)
    with torch.no_grad():
        # Weights of replicas are no parameters, so that nothing is bypassed, and bfloat16 rounds elsewhere.
        tolerance = {torch.float32: 1e-5, torch.bfloat16: 0.2}[base_dtype]
        torch.testing.assert_close(logits_of(replicate(model)), expected, atol=tolerance, rtol=0)
    replicate(model.train())(toy_clips(), labels=torch.tensor([0, 1])).loss.backward()
    assert all(weight.grad is not None for weight in model.parameters() if weight.requires_grad)


# ---- kept class features ----


@torch.no_grad()
def test_class_features_are_encoded_once_while_weights_do_not_change(monkeypatch):
    model = toy_model()
    calls = []
    encode = VitaClipModel._encode_classes
    monkeypatch.setattr(VitaClipModel, "_encode_classes", lambda *args: calls.append(1) or encode(*args))
    first = logits_of(model)
    assert torch.equal(logits_of(model), first)
    assert len(calls) == 1
    model.class_prompts.contexts[0] += 1
    assert not torch.equal(logits_of(model), first)
    assert len(calls) == 2


CHANGES = {
    "an optimizer's step": lambda model: model.class_prompts.contexts.add_(1),
    "load_state_dict": lambda model: model.load_state_dict(toy_model(seed=4).state_dict()),
    "a change of precision and back": lambda model: model.to(torch.bfloat16).to(torch.float32),
    "data that training wrote": lambda model: (model.train(), randomise_data(model), model.eval()),
    "other labels": lambda model: model.set_labels(["x", "y", "z"], toy_tokenizer()),
    "other frozen weights": lambda model: randomise(model.text_model, 3),
    "another buffer": lambda model: model.text_model.embeddings.position_ids.add_(1),
    "a tower's change of precision and back": lambda model: model.text_model.to(torch.bfloat16).to(torch.float32),
    "another function of a module": lambda model: setattr(model.text_projection, "forward", lambda x: x[:, :20]),
    "another module without weights": lambda model: setattr(layer_of(model).mlp, "activation_fn", nn.ReLU()),
    "a hook": lambda model: model.text_projection.register_forward_hook(lambda module, inputs, output: 2 * output),
}


def layer_of(model: nn.Module) -> nn.Module:
    return model.text_model.encoder.layers[0]


def randomise_data(model: nn.Module) -> None:
    """Changes weights without torch's counting it, as some distributed optimizers do."""
    model.class_prompts.contexts.data.add_(1)


@torch.no_grad()
@pytest.mark.parametrize("change", CHANGES.values(), ids=CHANGES)
def test_class_features_are_encoded_anew_after(change):
    model = toy_model()
    before = model.get_class_features().pooler_output
    change(model)
    after = model.get_class_features().pooler_output
    assert not torch.equal(after, before)
    torch.testing.assert_close(after, model._encode_classes(None, 512), atol=0, rtol=0)


def put_another_projection(model: nn.Module) -> None:
    del model.text_projection  # the new one's weights may come to lie where the old one's were
    model.text_projection = nn.Linear(24, 20, bias=False)


def load_contexts_twice(model: nn.Module) -> None:
    for _ in range(2):
        contexts = {"contexts": torch.randn_like(model.class_prompts.contexts)}
        model.class_prompts.load_state_dict(contexts, strict=False, assign=True)


@torch.no_grad()
@pytest.mark.parametrize("change", [put_another_projection, load_contexts_twice])
def test_class_features_are_encoded_anew_where_other_weights_lie_at_the_same_address(change):
    model = toy_model()
    for _ in range(20):
        model.get_class_features()
        change(model)
        torch.testing.assert_close(
            model.get_class_features().pooler_output, model._encode_classes(None, 512), atol=0, rtol=0
        )


@torch.no_grad()
def test_kept_class_features_keep_no_old_weights_and_stay_out_of_copies():
    model = toy_model()
    model.get_class_features()
    old = weakref.ref(model.text_projection.weight)
    model.text_projection = nn.Linear(24, 20, bias=False)
    assert old() is None
    model.get_class_features()
    stored = io.BytesIO()
    torch.save(model, stored)
    stored.seek(0)
    for copied in (copy.deepcopy(model), torch.load(stored, weights_only=False)):
        assert copied.class_prompts.feature_cache._kept is None
        assert torch.equal(copied.get_class_features().pooler_output, model.get_class_features().pooler_output)
        copied.class_prompts.contexts += 1
        assert not torch.equal(copied.get_class_features().pooler_output, model.get_class_features().pooler_output)


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
    module()

    def features(contexts: torch.Tensor) -> torch.Tensor:
        return torch.func.functional_call(module, {"model.class_prompts.contexts": contexts}, ())

    together = torch.func.vmap(features)(sets)
    torch.testing.assert_close(together, torch.stack([features(contexts) for contexts in sets]), atol=1e-5, rtol=0)


@pytest.mark.parametrize("mode", [torch.no_grad, torch.inference_mode])
def test_writing_to_class_features_does_not_change_those_given_next(mode):
    model = toy_model()
    with mode():
        given = model.get_class_features().pooler_output
        expected = given.clone()
        assert model.get_class_features().pooler_output is given, "kept, and not copied"
        given[0] = 0
        assert torch.equal(model.get_class_features().pooler_output, expected)


@torch.no_grad()
def test_class_features_follow_the_adapters_of_peft():
    peft = pytest.importorskip("peft")
    model = toy_model()

    def features() -> torch.Tensor:
        return model.get_class_features().pooler_output.clone()

    bare = features()
    settings = peft.LoraConfig(target_modules=r"text_model.*\.q_proj", init_lora_weights=False)
    wrapped = peft.get_peft_model(model, settings).eval()
    first = features()
    wrapped.add_adapter("other", settings)
    wrapped.set_adapter("other")
    wrapped.eval()
    other = features()
    wrapped.base_model.set_adapter("default")
    assert torch.equal(features(), first)
    with wrapped.disable_adapter():
        assert torch.equal(features(), bare)
    assert torch.equal(features(), first)
    layers = [layer for layer in model.modules() if isinstance(layer, peft.tuners.lora.LoraLayer)]
    for layer in layers:
        layer.merge(adapter_names=["other"])
    torch.testing.assert_close(features(), other)
    assert not torch.equal(first, bare)
    assert not torch.allclose(first, other)


def test_kept_class_features_carry_no_gradient_away_from_training():
    model = toy_model()
    with torch.no_grad():
        model.get_class_features()
    assert model.get_class_features().pooler_output.requires_grad
    assert len(LABELS) == len(model.get_class_features().pooler_output)
    with torch.inference_mode():
        torch.testing.assert_close(model.get_class_features().pooler_output, model.get_class_features().pooler_output)
