"""Golden files: weights, inputs, outputs, gradients and a short training run of the original model at toy size.

`tests/golden/*.safetensors`, and those of Efficient-Prompt in a folder of their own, were written by the authors'
released code. Each file's metadata names its configuration, and its tensors are grouped by the first part of their
key: `state.`, `input.`, `output.`, `grad.`, `train.`. Of the token embedding only the rows that the inputs use are
stored.
"""

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from safetensors import safe_open

GOLDEN_DIR = Path(__file__).parent / "golden"
GOLDEN_NAMES = tuple(sorted(path.stem for path in GOLDEN_DIR.glob("*.safetensors")))
VOCAB_SIZE = 49408
TOKEN_EMBEDDING = "textual.token_embedding.weight"


@dataclass(frozen=True)
class Golden:
    """One golden file. All tensors are float32 or int64 on the CPU.

    Attributes:
        name: the file's name without its ending.
        config: sizes, prompt switches, class names, names of trainable parameters, and the training recipe
            (`lr`, `weight_decay`, `steps`).
        state: the weights under the released checkpoint's names, without its `module.` prefix.
        inputs: `pixel_values` (B, 3, T, H, W), `labels` (B,), `tokenized_prompts` (C, 77),
            `zero_shot_text_features` (K, D').
        outputs: `video_features` (B, D'), `text_features` (C, D'), `logits` (B, C), `loss` (),
            `zero_shot_logits` (B, K).
        grads: gradient of the loss for every trainable parameter, by its name in `state`.
        train: `losses` (steps,), the loss before each optimizer step; `logits_after` (B, C), after the last one.
    """

    name: str
    config: dict[str, Any]
    state: dict[str, torch.Tensor]
    inputs: dict[str, torch.Tensor]
    outputs: dict[str, torch.Tensor]
    grads: dict[str, torch.Tensor]
    train: dict[str, torch.Tensor]


def load_golden(name: str, folder: Path = GOLDEN_DIR, token_embedding: str = TOKEN_EMBEDDING) -> Golden:
    """Read `<folder>/<name>.safetensors`; the caller owns the tensors."""
    with safe_open(folder / f"{name}.safetensors", framework="pt") as file:
        config = json.loads(file.metadata()["config"])
        tensors = {key: file.get_tensor(key) for key in file.keys()}  # noqa: SIM118 - not a dict
    state = _group(tensors, "state.")
    state[token_embedding] = _full_token_embedding(
        rows=state.pop(f"{token_embedding}.rows"), row_ids=state.pop(f"{token_embedding}.row_ids")
    )
    return Golden(
        name=name,
        config=config,
        state=state,
        inputs=_group(tensors, "input."),
        outputs=_group(tensors, "output."),
        grads=_group(tensors, "grad."),
        train=_group(tensors, "train."),
    )


def _group(tensors: dict[str, torch.Tensor], prefix: str) -> dict[str, torch.Tensor]:
    return {key.removeprefix(prefix): value for key, value in tensors.items() if key.startswith(prefix)}


def _full_token_embedding(rows: torch.Tensor, row_ids: torch.Tensor) -> torch.Tensor:
    """(vocabulary, width) with the stored rows in place and zeros where no input looks."""
    embedding = rows.new_zeros(VOCAB_SIZE, rows.shape[1])
    embedding[row_ids] = rows
    return embedding
