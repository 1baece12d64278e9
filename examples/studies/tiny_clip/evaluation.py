"""
How well a CLIP recognises stills: zero-shot accuracy of each attribute, retrieval of captions, and linear probes.

The probes matter most for Vita-CLIP. Prompts learn motion from frozen features, so place, size and opacity of a frame
must be readable from the features, and from those of the early layers too: prompts act on every layer.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from tiny_clip.stills import (
    ATTRIBUTES,
    COLOR_NAMES,
    OPACITY_WORDS,
    PLACES_ACROSS,
    PLACES_DOWN,
    SHAPE_NAMES,
    SIZE_WORDS,
    Still,
    caption_is_true,
    full_caption,
)
from transformers import CLIPModel, CLIPTokenizer

_PROMPTS: dict[str, list[str]] = {
    "shape": [f"a {shape}" for shape in SHAPE_NAMES],
    "color": [f"a {color} shape" for color in COLOR_NAMES],
    "size": [f"a {size} shape" for size in SIZE_WORDS],
    "opacity": [f"a {opacity} shape" for opacity in OPACITY_WORDS],
    "x5": [f"a shape {place}" for place in PLACES_ACROSS],
    "y5": [f"a shape {place}" for place in PLACES_DOWN],
}


def embed_texts(model: CLIPModel, tokenizer: CLIPTokenizer, texts: Sequence[str]) -> torch.Tensor:
    """Unit embeddings of texts, `(len(texts), projection_dim)`."""
    tokens = tokenizer(list(texts), padding=True, return_tensors="pt")
    features = model.text_projection(model.text_model(**tokens).pooler_output)
    return torch.nn.functional.normalize(features.float(), dim=-1)


@torch.no_grad()
def embed_pictures(model: CLIPModel, pixel_values: torch.Tensor, batch_size: int = 256) -> tuple[torch.Tensor, list]:
    """Unit embeddings `(N, projection_dim)`, and the class token after each layer, each `(N, hidden_size)`."""
    embeds, layers = [], []
    for batch in pixel_values.split(batch_size):
        output = model.vision_model(batch, output_hidden_states=True)
        embeds.append(torch.nn.functional.normalize(model.visual_projection(output.pooler_output).float(), dim=-1))
        layers.append([state[:, 0].float() for state in output.hidden_states[1:]])
    return torch.cat(embeds), [torch.cat(layer) for layer in zip(*layers, strict=True)]


def linear_fit(features: torch.Tensor, targets: torch.Tensor, penalty: float = 1e-3) -> list[float]:
    """
    R squared, on the second half of the rows, of a ridge regression fitted on the first half.

    Args:
        features: `(N, D)`.
        targets: `(N, K)`.
        penalty: ridge penalty per row, for standardised features.

    Returns:
        K values; 1 is perfect, 0 no better than the mean.
    """
    features, targets, half = features.double(), targets.double(), len(features) // 2
    features = (features - features[:half].mean(0)) / features[:half].std(0).clamp_min(1e-8)
    centre = targets[:half].mean(0)
    known, unknown = features[:half], features[half:]
    gram = known.T @ known + penalty * half * torch.eye(known.shape[1], dtype=torch.double)
    guess = unknown @ torch.linalg.solve(gram, known.T @ (targets[:half] - centre)) + centre
    error = (targets[half:] - guess).square().sum(0) / (targets[half:] - targets[half:].mean(0)).square().sum(0)
    return (1 - error).tolist()


@torch.no_grad()
def evaluate_tiny_clip(
    model: CLIPModel, tokenizer: CLIPTokenizer, pixel_values: torch.Tensor, stills: Sequence[Still]
) -> dict[str, float]:
    """
    Measures a CLIP on stills that it was not trained on.

    Args:
        model, tokenizer: the CLIP.
        pixel_values: `(N, 3, H, W)`, the stills as the model's image processor gives them.
        stills: the N stills; invisible ones are left out.

    Returns:
        Zero-shot accuracy by attribute (`zero_shot/shape`, ...; `zero_shot/place`: both axes, of 25 places);
        `retrieval/top1` and `top5` of full captions among all visible stills; R squared of linear probes for x, y,
        radius and opacity, of the embedding (`probe/x`) and of the class token after each layer but the last
        (`probe/x@1`); and the number of stills, `visible`.
    """
    was_training = model.training
    model.eval()
    keep = [row for row, still in enumerate(stills) if still.attributes[0]]
    stills, attributes = [stills[row] for row in keep], np.stack([stills[row].attributes for row in keep])
    embeds, layers = embed_pictures(model, pixel_values[keep])
    right = {}
    for name, prompts in _PROMPTS.items():
        chosen = (embeds @ embed_texts(model, tokenizer, prompts).T).argmax(-1).numpy()
        right[name] = chosen == attributes[:, ATTRIBUTES.index(name)]
    right["place"] = right.pop("x5") & right.pop("y5")
    figures = {"visible": len(keep), **{f"zero_shot/{name}": float(hits.mean()) for name, hits in right.items()}}

    captions = [full_caption(still) for still in stills]
    truth = torch.from_numpy(caption_is_true(attributes, np.stack([caption.claims for caption in captions])))
    scores = embeds @ embed_texts(model, tokenizer, [caption.text for caption in captions]).T
    found = truth.gather(1, scores.topk(5, dim=1).indices)
    figures["retrieval/top1"] = float(found[:, 0].float().mean())
    figures["retrieval/top5"] = float(found.any(1).float().mean())

    targets = torch.tensor([(still.x, still.y, still.radius, still.opacity) for still in stills])
    for where, features in {"": embeds, **{f"@{n}": cls for n, cls in enumerate(layers[:-1], 1)}}.items():
        names = (f"probe/{name}{where}" for name in ("x", "y", "radius", "opacity"))
        figures |= dict(zip(names, linear_fit(features, targets), strict=True))
    model.train(was_training)
    return figures
