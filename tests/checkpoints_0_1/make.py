"""
Wrote this folder, once, with version 0.1.0: `python make.py FOLDER`. It is kept to say how, and is not run again.

Both checkpoints are of a toy CLIP. Files of code, which such a folder has too, are left out: the installed package
runs it.
"""

import json
import shutil
import sys
from pathlib import Path

import torch
from safetensors.torch import load_file, save_file
from transformers import CLIPConfig, CLIPModel, CLIPTokenizer

from vita_clip_hf import VitaClipModel

LABELS = ["ride_bike", "tai chi", "swim"]


def randomise(model: torch.nn.Module, seed: int) -> None:
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.add_(torch.randn(parameter.shape, generator=generator) * 0.3)


def save_clip(folder: Path) -> None:
    letters = [chr(code) for code in range(97, 123)]
    tokens = [".", *letters, ".</w>", *(f"{letter}</w>" for letter in letters), "<|startoftext|>", "<|endoftext|>"]
    tokenizer = CLIPTokenizer(vocab={token: i for i, token in enumerate(tokens)}, merges=[], model_max_length=24)
    tower = {"num_hidden_layers": 2, "num_attention_heads": 2, "intermediate_size": 16}
    special = {"bos_token_id": tokenizer.bos_token_id, "eos_token_id": tokenizer.eos_token_id}
    text = {**tower, "hidden_size": 8, "vocab_size": len(tokenizer), "max_position_embeddings": 24, **special}
    vision = {**tower, "hidden_size": 12, "image_size": 16, "patch_size": 8}
    clip = CLIPModel(CLIPConfig(text_config=text, vision_config=vision, projection_dim=8))
    randomise(clip, seed=0)
    clip.save_pretrained(folder)
    tokenizer.save_pretrained(folder)


def new_model(base: Path, **fields) -> VitaClipModel:
    model = VitaClipModel.from_pretrained(base, id2label=dict(enumerate(LABELS)), num_frames=4, **fields)
    learned = torch.nn.ParameterList(weight for weight in model.parameters() if weight.requires_grad)
    randomise(learned, seed=1)
    return model.eval()


@torch.no_grad()
def note_what_it_computes(folder: Path) -> None:
    """Beside a checkpoint: clips, their logits, and what version 0.1.0 makes of tensors that are stored in int8."""
    model = VitaClipModel.from_pretrained(folder).eval()
    restored = {f"restored.{name}": model.state_dict()[name] for name in tensors_in_int8(folder)}
    clips = torch.randn(2, 4, 3, 16, 16, generator=torch.Generator().manual_seed(0)).half()
    logits = model(clips.float()).logits_per_video
    save_file({**restored, "pixel_values": clips, "logits": logits}, folder / "expected.safetensors")


def tensors_in_int8(folder: Path) -> list[str]:
    """Names of a checkpoint's tensors in int8."""
    files = [load_file(path) for path in folder.glob("*model.safetensors")]
    return [name for tensors in files for name, tensor in tensors.items() if tensor.dtype == torch.int8]


def main(folder: Path) -> None:
    torch.manual_seed(0)
    adapter, full = folder / "adapter_int8", folder / "full_float32"
    save_clip(adapter / "base")
    model = new_model(adapter / "base", num_global_prompts=3, text_prompt_length=4)
    model.save_pretrained(adapter, adapter_dtype="int8")
    config = json.loads((adapter / "config.json").read_text())
    config["base_model_name_or_path"] = "./base"  # the base comes along
    (adapter / "config.json").write_text(json.dumps(config, indent=2, sort_keys=True) + "\n")

    fields = {"cls_projection_rank": 2, "summary_attention_dim": 6, "num_global_prompts": 2}
    text = {"text_prompt_length": 4, "text_prompt_scope": "unified", "text_prompt_position": "middle"}
    new_model(adapter / "base", **fields, **text).save_pretrained(full, adapter_only=False)

    for checkpoint in (adapter, full):
        for code in checkpoint.glob("*.py"):
            code.unlink()
        note_what_it_computes(checkpoint)


if __name__ == "__main__":
    main(Path(sys.argv[1]))
    shutil.copy(__file__, Path(sys.argv[1]) / "make.py")
