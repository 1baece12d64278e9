"""How far every attention backend and precision is from eager float32: a table in Markdown.

    python examples/compare_backends.py [--model MODEL] [--device cuda]

Without a model it builds a ViT-B/16 with random weights, so large that attention is far from uniform.
"""

import argparse

import torch
from transformers import CLIPVisionConfig
from transformers.utils import is_flash_attn_2_available

from vita_clip_hf import VitaClipConfig, VitaClipModel

DTYPES = (torch.float32, torch.bfloat16, torch.float16)
CLIPS = 2


def random_vit_b_16(num_classes: int = 10) -> VitaClipModel:
    """A ViT-B/16 whose linear weights are twice what CLIP starts from."""
    torch.manual_seed(0)
    config = VitaClipConfig(
        vision_config=CLIPVisionConfig(patch_size=16),
        id2label={index: f"class {index}" for index in range(num_classes)},
        label_token_ids=[[49406, 320 + index, 269, 49407] for index in range(num_classes)],
    )
    model = VitaClipModel(config)
    with torch.no_grad():
        for weight in model.parameters():
            if weight.ndim == 2:
                weight.mul_(2)
    return model


@torch.no_grad()
def compare(model: VitaClipModel, device: str) -> list[tuple[str, str, float, float]]:
    """For each backend and precision: the largest difference of video embeddings (of length 1) and of logits."""
    vision = model.config.vision_config
    generator = torch.Generator().manual_seed(0)
    clips = torch.randn(CLIPS, vision.num_frames, 3, vision.image_size, vision.image_size, generator=generator)
    backends = ["eager", "sdpa", "flex_attention"]
    if device != "cpu" and is_flash_attn_2_available():
        backends.append("flash_attention_2")
    state = {name: weight.clone() for name, weight in model.state_dict().items()}
    expected, rows = None, []
    for dtype in DTYPES:
        for backend in backends:
            if backend == "flash_attention_2" and dtype == torch.float32:
                continue  # it computes in half precision only
            model.load_state_dict(state)
            model.to(device=device, dtype=dtype).set_attn_implementation(backend)
            outputs = model(clips.to(device))
            found = outputs.video_embeds.float().cpu(), outputs.logits_per_video.float().cpu()
            expected = found if expected is None else expected
            differences = [(ours - theirs).abs().max().item() for ours, theirs in zip(found, expected, strict=True)]
            rows.append((backend, str(dtype).removeprefix("torch."), *differences))
            model.float()
    return rows


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--model", help="a Hub id or a folder; by default a ViT-B/16 with random weights")
    parser.add_argument("--device", default="cpu")
    arguments = parser.parse_args()
    model = VitaClipModel.from_pretrained(arguments.model) if arguments.model else random_vit_b_16()
    print("| backend | precision | largest difference of video embeddings | of logits |\n|---|---|---|---|")
    for backend, dtype, embeds, logits in compare(model.eval(), arguments.device):
        print(f"| {backend} | {dtype} | {embeds:.1e} | {logits:.1e} |")


if __name__ == "__main__":
    main()
