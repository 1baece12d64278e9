"""Frozen bases in int8 and fp8 by torchao, under names, for studies and benchmarks."""

from typing import Any

import torch
from torch import nn
from transformers.utils import is_torchao_available
from vita_clip_hf.modeling.quantization_vita_clip import modules_of_prompts

# torchao's configurations. "Weights": stored so, and turned back for every product. "Dynamic": what comes in is
# quantized too, by a scale of its own for each token, and the product is one of 8 bits.
QUANTIZATIONS = {
    "int8 weights": "Int8WeightOnlyConfig",
    "int8 dynamic": "Int8DynamicActivationInt8WeightConfig",
    "fp8 weights": "Float8WeightOnlyConfig",
    "fp8 dynamic": "Float8DynamicActivationFloat8WeightConfig",
}


def torchao_config(name: str) -> Any:
    """
    torchao's configuration of one of `QUANTIZATIONS`.

    Raises:
        ImportError: torchao is missing.
    """
    if not is_torchao_available():
        raise ImportError("Quantization is torchao's work, which is not installed: pip install torchao")
    from torchao import quantization

    return getattr(quantization, QUANTIZATIONS[name])()


def quantize_base(model: nn.Module, name: str) -> None:
    """
    Quantizes CLIP's linear layers of a model in memory, and none of the prompts. A checkpoint is rather quantized as
    it is loaded, by `from_pretrained(..., quantization_config=TorchAoConfig(...))`.

    Raises:
        ImportError: torchao is missing, or kernels that it needs.
        AssertionError: this device cannot.
    """
    config = torchao_config(name)
    from torchao.quantization import quantize_

    prompts = modules_of_prompts(model)
    quantize_(model, config, filter_fn=lambda part, path: isinstance(part, nn.Linear) and path not in prompts)


def bytes_of_weights(model: nn.Module) -> int:
    """What a model's weights take in memory, scales of quantized ones included."""
    return sum(_bytes(tensor) for tensor in model.state_dict().values())


def _bytes(tensor: Any) -> int:
    if type(tensor) in (torch.Tensor, nn.Parameter):
        return tensor.numel() * tensor.element_size()
    parts, _ = tensor.__tensor_flatten__()  # torch's protocol for tensors made of others
    return sum(_bytes(getattr(tensor, part)) for part in parts)
