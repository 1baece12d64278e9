"""A base in int8 or fp8 by torchao under prompts in floating point, from full checkpoints and on adapters."""

import json
import os
import subprocess
import sys

import pytest
import torch
import torchao_quantization
from absent import without
from tolerance import assert_computed_equal
from torchao_quantization import QUANTIZATIONS, bytes_of_weights, quantize_base, torchao_config
from toy_checkpoint import toy_adapter_on
from toy_vita_clip import LABELS, NUM_FRAMES, save_toy_clip, toy_clips
from transformers import AutoModel, TorchAoConfig
from transformers.utils import is_torchao_available
from vita_clip_hf.modeling.adapter_file_vita_clip import ADAPTER_FILE, is_prompt
from vita_clip_hf.modeling.checkpoint_vita_clip import load_adapter_weights
from vita_clip_hf.modeling.cpu_vita_clip import FoldedMLP, use_cpu_kernels

from vita_clip_hf import VitaClipModel
from vita_clip_hf.training import VitaClipTrainer

WORKS_ON_CPU = ("int8 weights", "int8 dynamic", "fp8 weights")
# Of the least cosine of video and text embeddings to float32's: the toy CLIP's weights are large, its rows short.
COSINE = {"int8 weights": 0.999, "int8 dynamic": 0.998, "fp8 weights": 0.98}
LOGITS = {"int8 weights": 0.2, "int8 dynamic": 0.4, "fp8 weights": 0.8}  # whose scale is 7.4

pytestmark = pytest.mark.skipif(not is_torchao_available("0.17.0"), reason="needs torchao 0.17 or newer")


@pytest.fixture(scope="module")
def checkpoints(tmp_path_factory):
    """The same model as adapter, beside its base, and as full checkpoint."""
    folder = tmp_path_factory.mktemp("quantization")
    torch.manual_seed(0)  # the first values of prompts, on which the distances below depend
    model = toy_adapter_on(save_toy_clip(folder / "base"))
    model.save_pretrained(folder / "adapter")
    model.save_pretrained(folder / "full", adapter_only=False)
    return folder


def load(path, name: str, modules_to_not_convert=None, **arguments) -> VitaClipModel:
    config = TorchAoConfig(torchao_config(name), modules_to_not_convert=modules_to_not_convert)
    return VitaClipModel.from_pretrained(path, quantization_config=config, **arguments).eval()


@torch.no_grad()
def outputs_of(model: VitaClipModel):
    return model.eval()(toy_clips().to(model.dtype))


def quantized_names(model: VitaClipModel) -> set[str]:
    return {name for name, weight in model.named_parameters() if type(weight) is not torch.nn.Parameter}


def linear_names(model: VitaClipModel) -> set[str]:
    return {f"{name}.weight" for name, part in model.named_modules() if isinstance(part, torch.nn.Linear)}


@pytest.mark.parametrize("kind", ["adapter", "full"])
@pytest.mark.parametrize("name", WORKS_ON_CPU)
def test_the_base_is_quantized_and_the_prompts_are_not(checkpoints, name, kind):
    expected = outputs_of(VitaClipModel.from_pretrained(checkpoints / kind))
    model = load(checkpoints / kind, name)
    base = {weight for weight in linear_names(model) if not is_prompt(weight)}
    assert quantized_names(model) == base - {"text_projection.weight"}  # transformers spares the last of any model
    assert all(weight.dtype == torch.float32 for part, weight in model.named_parameters() if is_prompt(part))
    found = outputs_of(model)
    for features in ("video_embeds", "text_embeds"):
        own, reference = getattr(found, features), getattr(expected, features)
        assert torch.nn.functional.cosine_similarity(own, reference).min() > COSINE[name]
    difference = (found.logits_per_video - expected.logits_per_video).abs().max()
    assert 0 < difference < LOGITS[name]


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
@pytest.mark.parametrize("kind", ["adapter", "full"])
def test_what_is_not_quantized_may_be_in_16_bits(checkpoints, kind, dtype):
    expected = outputs_of(VitaClipModel.from_pretrained(checkpoints / kind)).video_embeds
    model = load(checkpoints / kind, "int8 weights", dtype=dtype)
    assert model.vision_model.pre_layrnorm.weight.dtype == dtype
    assert torch.nn.functional.cosine_similarity(outputs_of(model).video_embeds, expected).min() > 0.99


def test_naming_other_modules_to_spare_spares_the_prompts_too(checkpoints):
    model = load(checkpoints / "full", "int8 weights", modules_to_not_convert=["visual_projection"])
    quantized = quantized_names(model)
    assert "visual_projection.weight" not in quantized
    assert "text_projection.weight" in quantized
    assert not any(map(is_prompt, quantized))


def test_auto_classes_quantize_too(checkpoints):
    config = TorchAoConfig(torchao_config("int8 weights"))
    model = AutoModel.from_pretrained(checkpoints / "adapter", quantization_config=config)
    assert quantized_names(model) == quantized_names(load(checkpoints / "adapter", "int8 weights"))


def test_without_quantization_nothing_is_kept_in_float32(checkpoints):
    model = VitaClipModel.from_pretrained(checkpoints / "full", dtype=torch.float16)
    assert {weight.dtype for weight in model.parameters()} == {torch.float16}


def test_the_cpu_kernels_call_quantized_layers_as_they_are(checkpoints):
    model = load(checkpoints / "adapter", "int8 dynamic")
    tokens = torch.randn(1, 2, model.config.vision_config.hidden_size)
    expected = model.vision_model.encoder.layers[0].mlp(tokens)
    use_cpu_kernels(model)
    mlp = model.vision_model.encoder.layers[0].mlp
    assert isinstance(mlp, FoldedMLP)
    assert torch.equal(mlp(tokens), expected)


def test_weights_take_a_quarter_and_scales_are_counted(checkpoints):
    model = VitaClipModel.from_pretrained(checkpoints / "full")
    layer = model.vision_model.encoder.layers[0].mlp
    assert bytes_of_weights(layer.fc1) == 4 * (layer.fc1.weight.numel() + layer.fc1.bias.numel())
    quantize_base(model, "int8 weights")
    bytes_for_a_row = (bytes_of_weights(layer.fc1) - 4 * layer.fc1.bias.numel()) / layer.fc1.out_features
    assert layer.fc1.in_features < bytes_for_a_row <= layer.fc1.in_features + 16


# ---- adapters on it and from it ----


def test_an_adapter_of_a_quantized_model_goes_on_the_base_as_it_is(checkpoints, tmp_path):
    expected = outputs_of(VitaClipModel.from_pretrained(checkpoints / "adapter")).logits_per_video
    load(checkpoints / "adapter", "int8 weights").save_pretrained(tmp_path)
    stored = json.loads((tmp_path / "config.json").read_text())
    assert "quantization_config" not in stored
    assert (
        stored["base_model_fingerprint"]
        == json.loads((checkpoints / "adapter" / "config.json").read_text())["base_model_fingerprint"]
    )
    assert_computed_equal(outputs_of(VitaClipModel.from_pretrained(tmp_path)).logits_per_video, expected)


def test_prompts_begun_on_a_quantized_clip_are_saved_without_a_fingerprint(checkpoints, tmp_path):
    model = load(checkpoints / "base", "int8 weights", id2label=dict(enumerate(LABELS)), num_frames=NUM_FRAMES)
    assert quantized_names(model)
    model.save_pretrained(tmp_path)
    assert json.loads((tmp_path / "config.json").read_text())["base_model_fingerprint"] is None
    assert not quantized_names(VitaClipModel.from_pretrained(tmp_path))


def test_adapters_are_switched_on_a_quantized_base(checkpoints, caplog):
    model = load(checkpoints / "adapter", "int8 dynamic")
    before = outputs_of(model).logits_per_video
    model.load_adapter(checkpoints / "adapter", adapter_name="again")
    assert_computed_equal(outputs_of(model).logits_per_video, before)
    with model.disable_adapter():
        assert (outputs_of(model).logits_per_video - before).abs().max() > 0.01


# ---- what is refused ----


def test_a_full_checkpoint_of_a_quantized_model_is_refused(checkpoints, tmp_path):
    for kind in ("adapter", "full"):
        model = load(checkpoints / kind, "int8 weights")
        with pytest.raises(ValueError, match=r"could not be loaded again.*quantization_config"):
            model.save_pretrained(tmp_path / "new", adapter_only=False)
    assert not (tmp_path / "new").exists()


def test_prompts_that_were_quantized_by_hand_take_no_adapter(checkpoints):
    from torchao.quantization import quantize_

    model = VitaClipModel.from_pretrained(checkpoints / "adapter")
    quantize_(model, torchao_config("int8 weights"))
    with pytest.raises(ValueError, match=r"quantized prompts, such as .*\.prompts\..*quantization_config"):
        load_adapter_weights(model, checkpoints / "adapter" / ADAPTER_FILE)


def test_a_quantized_base_is_not_cast(checkpoints):
    with pytest.raises(ValueError, match=r"quantized base cannot be cast to torch\.bfloat16; .* argument dtype"):
        load(checkpoints / "full", "fp8 weights").cast_base(torch.bfloat16)


def test_a_quantized_model_is_not_trained(checkpoints):
    with pytest.raises(ValueError, match="quantized"):
        VitaClipTrainer(model=load(checkpoints / "adapter", "int8 dynamic"))


@pytest.mark.skipif(torch.cuda.is_available(), reason="a GPU may have products in fp8")
@pytest.mark.parametrize("kind", ["adapter", "full"])
def test_products_in_fp8_on_the_cpu_are_an_error_that_says_why(checkpoints, kind):
    with pytest.raises(ValueError, match=r"cannot quantize by Float8Dynamic\w+ here: .*CUDA compute capability"):
        load(checkpoints / kind, "fp8 dynamic")


def test_an_error_that_is_not_torchaos_stays_what_it_was(checkpoints, monkeypatch):
    def fail(*args, **kwargs):
        raise RuntimeError("out of memory")

    monkeypatch.setattr("transformers.PreTrainedModel._load_pretrained_model", fail)
    with pytest.raises(RuntimeError, match="out of memory"):
        load(checkpoints / "full", "int8 weights")


def test_without_torchao_the_errors_name_it():
    script = """
import vita_clip_hf
from transformers import TorchAoConfig
from torchao_quantization import torchao_config
for call in (lambda: TorchAoConfig(None), lambda: torchao_config("int8 weights")):
    try:
        call()
    except (ImportError, ValueError) as error:
        print(error)
"""
    command = [sys.executable, "-c", without("torchao") + script]
    studies = {**os.environ, "PYTHONPATH": os.path.dirname(torchao_quantization.__file__)}
    printed = subprocess.run(command, capture_output=True, text=True, check=True, env=studies).stdout.splitlines()
    assert len(printed) == 2
    assert all("pip install torchao" in line for line in printed)


def test_every_name_is_a_configuration_of_torchao():
    assert all(type(torchao_config(name)).__name__ == QUANTIZATIONS[name] for name in QUANTIZATIONS)
