"""The same results however the model is run: attention backends, precision, checkpointing, compilation, replicas."""

import shutil
import sys

import pytest
import torch
from tolerance import assert_computed_equal
from torch import nn
from toy_vita_clip import ALL_PROMPTS_OFF, NUM_FRAMES, toy_clips, toy_model, toy_tokenizer

from vita_clip_hf import VitaClipForVideoClassification

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
    assert_computed_equal(found, expected)
    assert_computed_equal(found_text, expected_text)


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
    assert_computed_equal(whole.hidden_states[-1][:, :1], vision.hidden_states[-1])
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
    """Of the same model in the same process: torch aligns what it allocates alike each time."""
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
    model = toy_model()
    compiled = torch.compile(model, backend="eager", fullgraph=True)
    for batch in (1, 2):  # torch makes the batch size symbolic when it meets a second one
        logits_of(compiled, batch)
    with torch.compiler.set_stance("fail_on_recompile"):
        for batch in range(1, 9):
            torch.testing.assert_close(logits_of(compiled, batch), logits_of(model, batch))


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
    assert_computed_equal(found, logits_of(model))


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
        tolerance = {torch.float32: 1e-5, torch.bfloat16: 0.2}[base_dtype]
        torch.testing.assert_close(logits_of(replicate(model)), expected, atol=tolerance, rtol=0)
    replicate(model.train())(toy_clips(), labels=torch.tensor([0, 1])).loss.backward()
    assert all(weight.grad is not None for weight in model.parameters() if weight.requires_grad)
