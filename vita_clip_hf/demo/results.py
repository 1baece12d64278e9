"""Result files, and what figures depend on besides the recipe."""

import json
from pathlib import Path
from typing import Any

import torch
import transformers

from ..modeling.adapter_file_vita_clip import written_whole
from .recipe import fast_bfloat16


def write_json(path: Path, content: Any) -> None:
    """Writes a file whole or not at all."""
    with written_whole(path) as file:
        file.write_text(json.dumps(content, indent=2) + "\n", encoding="utf-8")


def describe_environment() -> dict[str, Any]:
    """The libraries' versions, the device, and the precision of trainings that name none."""
    return {
        "torch": torch.__version__,
        "transformers": transformers.__version__,
        "threads": torch.get_num_threads(),
        "device": "cuda" if torch.cuda.is_available() else "cpu",
        "training_precision": "bfloat16" if fast_bfloat16() else "float32",
    }
