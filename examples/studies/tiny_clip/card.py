"""The README.md of a pretrained tiny CLIP: its size, its accuracy, and how it was made."""

from __future__ import annotations

from collections.abc import Mapping

_ZERO_SHOT = {
    "shape, 1 of 9": "zero_shot/shape",
    "colour, 1 of 10": "zero_shot/color",
    "size, 1 of 5": "zero_shot/size",
    "opacity, 1 of 4": "zero_shot/opacity",
    "place, 1 of 25": "zero_shot/place",
}


def format_tables(figures: Mapping[str, float]) -> str:
    """The figures of `evaluate_tiny_clip` as two tables in Markdown, with a paragraph before each."""
    accuracies = {name: figures[key] for name, key in _ZERO_SHOT.items()}
    accuracies |= {
        f"retrieval of the full caption, 1 of {figures['visible']:.0f}, top-{k}": figures[f"retrieval/top{k}"]
        for k in (1, 5)
    }
    recognised = "\n".join(f"| {name} | {100 * accuracy:.1f} % |" for name, accuracy in accuracies.items())
    layers = [key.removeprefix("probe/x@") for key in figures if key.startswith("probe/x@")]
    places = {"embedding": "", **{f"class token after layer {layer}": f"@{layer}" for layer in layers}}
    names = ("x", "y", "radius", "opacity")
    probes = "\n".join(
        f"| {place} | " + " | ".join(f"{figures[f'probe/{name}{key}']:.3f}" for name in names) + " |"
        for place, key in places.items()
    )
    return f"""\
Zero-shot accuracy on {figures["visible"]:.0f} pictures that it was not trained on. A caption counts as right if it is
true of the picture; many pictures lie near a border between two words for size, opacity or place.

| recognised | accuracy |
|---|---|
{recognised}

The share of the variance of place, radius and opacity that a linear map of the features explains (R squared, on
held-out pictures):

| features | x | y | radius | opacity |
|---|---|---|---|---|
{probes}
"""


def render_card(settings: Mapping[str, int | float], figures: Mapping[str, float], parameters: int) -> str:
    """
    Writes the card.

    Args:
        settings: the fields of `PretrainingSettings`.
        figures: the last measurement: `seconds`, and the figures of `evaluate_tiny_clip`.
        parameters: number of weights.
    """
    others = {("seeds" if name == "seed" else name): value for name, value in settings.items()}
    options = " ".join(f"--{name.replace('_', '-')} {value}" for name, value in others.items())
    return f"""---
license: apache-2.0
library_name: transformers
pipeline_tag: zero-shot-image-classification
tags:
- clip
- motion-shapes
---
# A tiny CLIP of still pictures of shapes

A `CLIPModel` of {parameters / 1e6:.2f} M parameters: pictures of {settings["image_size"]} pixels in patches of
{settings["patch_size"]}, {settings["vision_layers"]} layers of width {settings["vision_width"]}, and a text tower of
{settings["text_layers"]} layers of width {settings["text_width"]}. It stands in for CLIP in Vita-CLIP's offline demo.

It was trained on {settings["pictures"]:,} generated pictures, each of one shape (and up to two small faint ones) in
front of a textured background, and on captions such as "a small faint red circle at the top left". It knows shapes,
colours, sizes, opacities and places. It knows nothing of motion: no caption speaks of time, and no two pictures belong
together.

```python
from transformers import CLIPImageProcessor, CLIPModel, CLIPTokenizer

model = CLIPModel.from_pretrained(folder)
tokenizer = CLIPTokenizer.from_pretrained(folder)
image_processor = CLIPImageProcessor.from_pretrained(folder)
```

## What it recognises

{format_tables(figures)}
## How it was made

From a checkout, in {figures["seconds"] / 60:.0f} minutes on a CPU (`log.jsonl` has the measurements on the way):

    python examples/studies/pretrain_tiny_clip.py --output runs/tiny_clip

with these settings:

    {options}
"""
