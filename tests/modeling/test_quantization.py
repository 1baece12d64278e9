"""A base in int8 or fp8 by torchao under prompts in floating point, from full checkpoints and on adapters."""

import json
from pathlib import Path

import pytest
import torch
from test_peft import without  # the same way of putting a package out of reach
from toy_checkpoint import toy_adapter_on
from toy_vita_clip import save_toy_clip, toy_clips
from torch import nn
from transformers import AutoModel, TorchAoConfig
from transformers.utils import is_torchao_available
from vita_clip_hf.modeling.activations_vita_clip import VitaClipMLP
from vita_clip_hf.modeling.adapter_storage_vita_clip import ADAPTER_FILE, is_prompt
