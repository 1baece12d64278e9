"""
A base in int8 or fp8 under prompts in floating point: what transformers' quantizers must be told, and what they do not
tell.
"""

from collections.abc import Callable
from importlib import import_module
from typing import Any

import torch
from torch import nn
from transformers.utils.quantization_config import QuantizationMethod

from .adapter_storage_vita_clip import is_prompt

TRIAL_WIDTH = 256


def modules_of_prompts(model: nn.Module) -> set[str]:
    """Names of the modules that belong to an adapter: what no quantizer is to touch."""
    return {name for name, _ in model.named_modules() if is_prompt(f"{name}.")}


def check_can_be_saved(model: nn.Module) -> None:
    """
    Raises `ValueError` where a full checkpoint could not be loaded again: what torchao writes it reads back for models
    whose weights all belong to some module, and `logit_scale` belongs to none.
    """
    quantizer = getattr(model, "hf_quantizer", None)
    if quantizer is not None and quantizer.quantization_config.quant_method == QuantizationMethod.TORCHAO:
        raise ValueError(
            "A full checkpoint of a model that torchao has quantized could not be loaded again. Save the model that "
            "was not quantized, and give from_pretrained the quantization_config; or save the adapter."
        )


def with_reason(load: Callable[..., Any], quantization_config: Any) -> Callable[..., Any]:
    """
    `load`, transformers' own `from_pretrained`, with an error that says why where torchao cannot quantize here:
    transformers writes that into a report, once for each weight, and its error refers to that.
    """
    quant_type = getattr(quantization_config, "quant_type", None)
    if quant_type is None:
        return load

    def load_or_explain(*args: Any, **kwargs: Any) -> Any:
        try:
            return load(*args, **kwargs)
        except RuntimeError as error:
            reason = _refusal(quant_type)
            if reason is None:
                raise
            raise ValueError(f"torchao cannot quantize by {type(quant_type).__name__} here: {reason}") from error

    return load_or_explain


def _refusal(quant_type: Any) -> str | None:
    """What torchao says to one linear layer; `None` if it does not refuse it."""
    # By name: whatever a file of a checkpoint imports in its text, trust_remote_code asks everybody to install.
    torchao = import_module("torchao.quantization")
    try:
        torchao.quantize_(nn.Sequential(nn.Linear(TRIAL_WIDTH, TRIAL_WIDTH, dtype=torch.bfloat16)), quant_type)
    except Exception as error:  # of any type: an assertion on the device, an import of kernels
        return str(error)
    return None
