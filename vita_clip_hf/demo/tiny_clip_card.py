"""The README.md that goes with a pretrained tiny CLIP: what it is, how sharp it sees, how it was made."""

from __future__ import annotations

from collections.abc import Mapping

_FIGURES = {
    "shape": ("zero_shot/shape", "1 of 9"),
    "colour": ("zero_shot/color", "1 of 10"),
    "size": ("zero_shot/size", "1 of 5"),
    "opacity": ("zero_shot/opacity", "1 of 4"),
    "place": ("zero_shot/place", "1 of 25"),
}


def render_card(
    settings: Mapping[str, int | float], figures: Mapping[str, float], parameters: int, visible: int
) -> str:
    """Writes the card.

    Args:
        settings: the fields of `PretrainingSettings`.
        figures: the last measurement, see `evaluate_tiny_clip`.
        parameters: number of weights.
        visible: held-out pictures that were measured on.
    """
    rows = [f"| {name}, {chance} | {100 * figures[key]:.1f} % |" for name, (key, chance) in _FIGURES.items()]
    rows += [
        f"| full caption, 1 of {visible}, top-1 | {100 * figures['retrieval/top1']:.1f} % |",
        f"| full caption, 1 of {visible}, top-5 | {100 * figures['retrieval/top5']:.1f} % |",
    ]
    places = [("embedding", "")] + [
        (f"class token after layer {n}", f"@{n}") for n in range(1, int(settings["vision_layers"]))
    ]
    probes = [
        f"| {where} | "
        + " | ".join(f"{figures[f'probe/{name}{key}']:.3f}" for name in ("x", "y", "radius", "opacity"))
        + " |"
        for where, key in places
    ]
    defaults = " ".join(f"--{name.replace('_', '-')} {value}" for name, value in settings.items())
    return f"""---
license: apache-2.0
library_name: transformers
pipeline_tag: zero-shot-image-classification
tags:
- clip
- motion-shapes
---
# A tiny CLIP that has seen shapes, and nothing move

A `CLIPModel` of {parameters / 1e6:.2f} M parameters: pictures of {settings["image_size"]} pixels in patches of
{settings["patch_size"]}, {settings["vision_layers"]} layers of width {settings["vision_width"]}, and a text tower of
{settings["text_layers"]} layers of width {settings["text_width"]}. It stands in for CLIP in Vita-CLIP's offline demo.

It was trained on {settings["pictures"]:,} generated pictures, each of one shape (small dull ones beside it) before
a textured background, and on captions such as "a small faint red circle at the top left". It knows shapes, colours,
sizes, opacities and places. Its captions never speak of time, and it never saw two pictures that belong together.

```python
from transformers import CLIPImageProcessor, CLIPModel, CLIPTokenizer

model = CLIPModel.from_pretrained(folder)
tokenizer = CLIPTokenizer.from_pretrained(folder)
image_processor = CLIPImageProcessor.from_pretrained(folder)
```

## How sharp it sees

Zero-shot, on {visible} pictures that it was not trained on (a caption counts as found if it is true of the picture;
many pictures lie near a border between two words for size, opacity or place):

| retrieval of | accuracy |
|---|---|
{chr(10).join(rows)}

How much of the variance of what a picture shows is explained by a linear map of its features (R squared, on held-out
pictures):

| features | x | y | radius | opacity |
|---|---|---|---|---|
{chr(10).join(probes)}

## How it was made

    python -m vita_clip_hf.demo.pretrain_tiny_clip --output tiny_clip

in {figures["seconds"] / 60:.0f} minutes on a CPU, with these settings (`log.jsonl` has the measurements on the way):

    {defaults}
"""
