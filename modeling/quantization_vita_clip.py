"""A base in int8 or fp8 under prompts in floating point: modules that are spared, and errors of torchao explained."""

from collections.abc import Iterator
from contextlib import contextmanager
from importlib import import_module
from typing import Any

import torch
from torch import nn
from transformers.quantizers import AutoQuantizationConfig
from transformers.utils.quantization_config import QuantizationMethod

from .adapter_file_vita_clip import is_prompt
from .configuration_vita_clip import errors_naming

TRIAL_WIDTH = 256


def modules_of_prompts(model: nn.Module) -> set[str]:
    """Names of the modules that belong to an adapter, which no quantizer may touch."""
    return {name for name, _ in model.named_modules() if is_prompt(name)}


def check_can_be_saved(model: nn.Module) -> None:
    """
    Raises `ValueError` if a full checkpoint could not be loaded again: transformers reads weights that torchao has
    quantized only for models whose weights all belong to some module, and `logit_scale` belongs to none.
    """
    quantizer = getattr(model, "hf_quantizer", None)
    if quantizer is not None and quantizer.quantization_config.quant_method == QuantizationMethod.TORCHAO:
        raise ValueError(
            "A full checkpoint of a model that torchao has quantized could not be loaded again. Save the model that "
            "was not quantized, and give from_pretrained the quantization_config; or save the adapter."
        )


def check_stored_quantization(quantization: Any, source: Any, is_adapter: bool) -> None:
    """
    Raises `ValueError` if the `quantization_config` in the `config.json` of `source`, `None` for none, is not one of
    transformers', or is beside an adapter, or is torchao's ([`check_can_be_saved`]).
    """
    if quantization is None:
        return
    named = f"{source}: its quantization_config"
    if is_adapter:
        raise ValueError(f"{named} is no part of an adapter; it is an argument of from_pretrained.")
    with errors_naming(named):
        method = AutoQuantizationConfig.from_dict(quantization).quant_method
    if method == QuantizationMethod.TORCHAO:
        raise ValueError(f"{named} is torchao's, which can only be an argument of from_pretrained.")


@contextmanager
def torchao_errors_explained(quantization_config: Any) -> Iterator[None]:
    """
    A context for loading a model, in which the error says why torchao cannot quantize it here: transformers writes
    the reason into a report, once for each weight, and its own error refers to that.
    """
    quant_type = getattr(quantization_config, "quant_type", None)
    try:
        yield
    except RuntimeError as error:
        reason = None if quant_type is None else _refusal(quant_type)
        if reason is None:
            raise
        raise ValueError(f"torchao cannot quantize by {type(quant_type).__name__} here: {reason}") from error


def _refusal(quant_type: Any) -> str | None:
    """The message with which torchao refuses to quantize one linear layer; `None` if it does not refuse."""
    # By name: trust_remote_code demands every package that a file of the checkpoint imports in its text.
    torchao = import_module("torchao.quantization")
    try:
        torchao.quantize_(nn.Sequential(nn.Linear(TRIAL_WIDTH, TRIAL_WIDTH, dtype=torch.bfloat16)), quant_type)
    except Exception as error:  # of any type: an assertion on the device, an import of kernels
        return str(error)
    return None
