"""The tiny CLIP's training: batches of painted pictures with captions, CLIP's loss, and the loop."""

from __future__ import annotations

import json
import math
import os
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import numpy as np
import torch
from tiny_clip.model import PretrainingSettings
from tiny_clip.stills import Still, caption_is_true, draw_caption, render_still
from torch.utils.data import DataLoader, Dataset
from tqdm.auto import tqdm
from transformers import CLIPImageProcessor, CLIPModel, CLIPTokenizer

PICTURE_SIZE = 64  # pixels; the image processor resizes stills as it resizes the demo's frames, which are as large


def paint_stills(stills: Sequence[Still], processor: CLIPImageProcessor) -> torch.Tensor:
    """Paints stills and resizes them as the image processor does: `(N, 3, image_size, image_size)` uint8."""

    def paint(part: Sequence[Still]) -> torch.Tensor:
        pictures = torch.from_numpy(np.stack([render_still(still, PICTURE_SIZE) for still in part]))
        pictures = pictures.permute(0, 3, 1, 2)
        return processor(pictures, do_rescale=False, do_normalize=False, return_tensors="pt").pixel_values

    parts = [stills[start : start + 500] for start in range(0, len(stills), 500)]
    with ThreadPoolExecutor(os.cpu_count()) as pool:
        painted = tqdm(
            pool.map(paint, parts), total=len(parts), desc="painting stills", unit="00 stills", unit_scale=5
        )
        return torch.cat([part.to(torch.uint8) for part in painted])


def normalize(pictures: torch.Tensor, processor: CLIPImageProcessor) -> torch.Tensor:
    """The image processor's work after resizing: `(N, 3, H, W)` uint8 to float32."""
    mean, std = (torch.tensor(values).view(3, 1, 1) for values in (processor.image_mean, processor.image_std))
    return (pictures / 255 - mean) / std


class CaptionedBatches(Dataset):
    """Item `step` is the batch of that step: pictures, and captions drawn for this batch. It is always the same."""

    def __init__(
        self,
        settings: PretrainingSettings,
        tokenizer: CLIPTokenizer,
        stills: Sequence[Still],
        pictures: torch.Tensor,
    ):
        self.settings, self.tokenizer, self.stills, self.pictures = settings, tokenizer, stills, pictures

    def __len__(self) -> int:
        return self.settings.steps

    def __getitem__(self, step: int) -> dict[str, torch.Tensor]:
        rng = np.random.default_rng([self.settings.seed, 2, step])
        rows = rng.choice(len(self.stills), self.settings.batch_size, replace=False)
        stills = [self.stills[row] for row in rows]
        captions = [draw_caption(rng, still) for still in stills]
        others = [[draw_caption(rng, still).text for _ in range(self.settings.more_captions)] for still in stills]
        tokens = self.tokenizer([caption.text for caption in captions], padding=True, return_tensors="pt")
        truth = caption_is_true(
            np.stack([still.attributes for still in stills]), np.stack([caption.claims for caption in captions])
        )
        return {
            "pictures": self.pictures[torch.from_numpy(rows)],
            "input_ids": tokens.input_ids,
            "truth": torch.from_numpy(truth),
            "words": self._words([[caption.text, *more] for caption, more in zip(captions, others, strict=True)]),
        }

    def _words(self, captions: list[list[str]]) -> torch.Tensor:
        """The share of each token among the words of a picture's captions, `(pictures, vocabulary)`."""
        tokens = self.tokenizer([" ".join(texts) for texts in captions], add_special_tokens=False)
        words = torch.zeros(len(captions), len(self.tokenizer))
        for row, numbers in zip(words, tokens.input_ids, strict=True):
            row.index_add_(0, torch.tensor(numbers), torch.full((len(numbers),), 1 / len(numbers)))
        return words


def contrastive_loss(
    image_embeds: torch.Tensor, text_embeds: torch.Tensor, scale: torch.Tensor, truth: torch.Tensor
) -> torch.Tensor:
    """
    CLIP's loss; another picture's caption is no negative if it is true of the picture.

    Args:
        image_embeds, text_embeds: `(B, D)`, of any length; row i of both belong together.
        scale: the factor of the cosines.
        truth: `(B, B)` bool, whether caption j is true of picture i.
    """
    image_embeds = torch.nn.functional.normalize(image_embeds.float(), dim=-1)
    text_embeds = torch.nn.functional.normalize(text_embeds.float(), dim=-1)
    also_true = truth & ~torch.eye(len(truth), dtype=torch.bool)
    logits = (scale * image_embeds @ text_embeds.T).masked_fill(also_true, -torch.inf)
    own = torch.arange(len(logits))
    cross_entropy = torch.nn.functional.cross_entropy
    return (cross_entropy(logits, own) + cross_entropy(logits.T, own)) / 2


def training_loss(
    model: CLIPModel, word_head: torch.nn.Linear, batch: dict[str, torch.Tensor], settings: PretrainingSettings
) -> torch.Tensor:
    """
    CLIP's loss of a batch, and the weighted loss of guessing the words of a picture's captions from the picture.

    Guessing words needs no text tower: the vision tower learns the captions' words from the first step on, and the
    text tower has features to align to. The class token of each layer guesses, because Vita-CLIP's prompts read the
    class token that enters a layer: it must know the picture before the last layer.
    """
    vision = model.vision_model
    states = vision(batch["pixel_values"], output_hidden_states=True).hidden_states
    pooled = [vision.post_layernorm(state[:, 0]) for state in states[2:]]
    text_embeds = model.text_projection(model.text_model(batch["input_ids"]).pooler_output)
    image_embeds = model.visual_projection(pooled[-1])
    loss = contrastive_loss(image_embeds, text_embeds, model.logit_scale.exp(), batch["truth"])
    for seen in pooled:
        logits = word_head(seen).float()
        loss = loss + settings.word_weight / len(pooled) * torch.nn.functional.cross_entropy(logits, batch["words"])
    return loss


def build_optimizers(learners: torch.nn.Module, settings: PretrainingSettings) -> list[torch.optim.Optimizer]:
    """Muon for the matrices of the transformer layers, which needs about half of AdamW's steps; AdamW for the rest."""
    inside = {name: weight for name, weight in learners.named_parameters() if ".layers." in name and weight.ndim == 2}
    outside = [weight for name, weight in learners.named_parameters() if name not in inside]
    decay, no_decay = [w for w in outside if w.ndim >= 2], [w for w in outside if w.ndim < 2]
    groups = [{"params": decay, "weight_decay": settings.weight_decay}, {"params": no_decay, "weight_decay": 0.0}]
    shared: dict[str, Any] = {"lr": settings.learning_rate, "weight_decay": settings.weight_decay}
    return [
        # Its steps are scaled to the size of AdamW's, so that one learning rate serves both.
        torch.optim.Muon(inside.values(), **shared, momentum=0.95, adjust_lr_fn="match_rms_adamw"),
        torch.optim.AdamW(groups, **shared, betas=(0.9, 0.98), fused=True),
    ]


def build_schedules(
    optimizers: Sequence[torch.optim.Optimizer], settings: PretrainingSettings
) -> list[torch.optim.lr_scheduler.LRScheduler]:
    """A linear warm-up, then a cosine to 0."""

    def share(step: int) -> float:
        if step < settings.warmup_steps:
            return (step + 1) / settings.warmup_steps
        done = (step - settings.warmup_steps) / max(1, settings.steps - settings.warmup_steps)
        return 0.5 + 0.5 * math.cos(math.pi * done)

    return [torch.optim.lr_scheduler.LambdaLR(optimizer, share) for optimizer in optimizers]


def train(
    model: CLIPModel,
    batches: CaptionedBatches,
    processor: CLIPImageProcessor,
    settings: PretrainingSettings,
    measure: Callable[[], dict[str, float]],
    log_every: int,
) -> list[dict[str, float]]:
    """
    Trains the model in place, in bfloat16 on the CPU.

    Args:
        measure: called every `log_every` steps and after the last.

    Returns:
        The log: step, seconds, mean loss since the line before, and the figures of `measure`.
    """
    # A worker writes captions ahead. Pictures are painted once: painting takes half as long as a training step.
    loader = DataLoader(batches, batch_size=None, num_workers=1, prefetch_factor=8)
    word_head = torch.nn.Linear(settings.vision_width, model.config.text_config.vocab_size)
    learners = torch.nn.ModuleList([model, word_head])
    optimizers = build_optimizers(learners, settings)
    schedules = build_schedules(optimizers, settings)
    log, losses, start = [], [], time.perf_counter()
    learners.train()
    bar = tqdm(loader, desc="pretraining the tiny CLIP", unit=" steps")
    for step, batch in enumerate(bar, 1):
        batch["pixel_values"] = normalize(batch.pop("pictures"), processor)
        with torch.autocast("cpu", dtype=torch.bfloat16):
            loss = training_loss(model, word_head, batch, settings)
        learners.zero_grad()
        loss.backward()
        torch.nn.utils.clip_grad_norm_(learners.parameters(), 1.0)
        for optimizer in optimizers:
            optimizer.step()
        for schedule in schedules:
            schedule.step()
        with torch.no_grad():
            model.logit_scale.clamp_(max=math.log(100))
        losses.append(loss.item())
        bar.set_postfix(loss=f"{losses[-1]:.3f}")
        if step % log_every == 0 or step == settings.steps:
            line = {"step": step, "seconds": time.perf_counter() - start, "loss": float(np.mean(losses)), **measure()}
            log.append({name: round(value, 4) for name, value in line.items()})
            bar.write(json.dumps(log[-1]))
            losses.clear()
    return log
