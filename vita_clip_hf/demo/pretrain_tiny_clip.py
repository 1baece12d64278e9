"""Pretrains the tiny CLIP that the demo starts from, on generated pictures and captions; nothing of it moves.

    python -m vita_clip_hf.demo.pretrain_tiny_clip --output my_tiny_clip

What is learned is what CLIP learns: which caption goes with which picture. The result is an ordinary checkpoint:
`CLIPModel.from_pretrained`, `CLIPTokenizer.from_pretrained` and `CLIPImageProcessor.from_pretrained` load it.
"""

from __future__ import annotations

import argparse
import json
import math
import os
import shutil
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass, field, fields
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch.utils.data import DataLoader, Dataset
from tqdm.auto import tqdm
from transformers import CLIPConfig, CLIPImageProcessor, CLIPModel, CLIPTokenizer

from vita_clip_hf.demo.motions import MOTIONS, UNSEEN_MOTIONS
from vita_clip_hf.demo.stills import Still, caption_is_true, draw_caption, draw_still, render_still
from vita_clip_hf.demo.tiny_clip_card import render_card
from vita_clip_hf.demo.tiny_clip_evaluation import evaluate_tiny_clip
from vita_clip_hf.demo.tiny_tokenizer import train_tokenizer

TINY_CLIP = Path(__file__).parent / "tiny_clip"
PICTURE_SIZE = 64  # pictures are painted as large as clips are, and resized by the image processor like them
MAX_TEXT_LENGTH = 77


def _setting(default: int | float, meaning: str) -> Any:
    return field(default=default, metadata={"help": meaning})


@dataclass(frozen=True)
class PretrainingSettings:
    """Everything that decides the result."""

    steps: int = _setting(2600, "training steps")
    batch_size: int = _setting(256, "pictures, each with one caption, a step")
    learning_rate: float = _setting(1.5e-3, "highest learning rate, after the warm-up; it falls to 0 as a cosine")
    warmup_steps: int = _setting(100, "steps over which the learning rate rises")
    weight_decay: float = _setting(0.05, "weight decay of the matrices")
    word_weight: float = _setting(1.0, "weight of guessing the captions' words from the class token of each layer")
    more_captions: int = _setting(3, "further captions of a picture, only for their words")
    image_size: int = _setting(48, "side of the pictures the model sees, in pixels")
    patch_size: int = _setting(8, "side of a patch, in pixels")
    vision_width: int = _setting(96, "hidden size of the vision tower; a head has 32")
    vision_layers: int = _setting(6, "layers of the vision tower")
    text_width: int = _setting(96, "hidden size of the text tower; a head has 32")
    text_layers: int = _setting(2, "layers of the text tower")
    projection: int = _setting(128, "size of the common embedding")
    vocab_size: int = _setting(1000, "tokens at most")
    pictures: int = _setting(60000, "pictures to train on; their captions are written anew each time")
    held_out: int = _setting(1000, "pictures to measure on")
    seed: int = _setting(0, "of weights, pictures and captions")


def build_tokenizer(settings: PretrainingSettings) -> CLIPTokenizer:
    """A tokenizer for the captions and, so that they need few tokens, the names of motions: letters, no meaning."""
    rng = np.random.default_rng([settings.seed, 1])
    captions = [draw_caption(rng, draw_still(rng)).text for _ in range(10000)]
    names = [f"a video of a shape {motion}, an animation" for motion in (*MOTIONS, *UNSEEN_MOTIONS)]
    return train_tokenizer([*captions, *names * 50], settings.vocab_size, MAX_TEXT_LENGTH)


def build_model(settings: PretrainingSettings, tokenizer: CLIPTokenizer) -> CLIPModel:
    """A CLIP of random weights."""
    # "gelu" is one kernel where CLIP's "quick_gelu" is three.
    vision = {
        "hidden_size": settings.vision_width,
        "intermediate_size": 4 * settings.vision_width,
        "num_hidden_layers": settings.vision_layers,
        "num_attention_heads": settings.vision_width // 32,
        "image_size": settings.image_size,
        "patch_size": settings.patch_size,
        "hidden_act": "gelu",
    }
    text = {
        "hidden_size": settings.text_width,
        "intermediate_size": 4 * settings.text_width,
        "num_hidden_layers": settings.text_layers,
        "num_attention_heads": settings.text_width // 32,
        "vocab_size": len(tokenizer),
        "max_position_embeddings": MAX_TEXT_LENGTH,
        "bos_token_id": tokenizer.bos_token_id,
        "eos_token_id": tokenizer.eos_token_id,
        "pad_token_id": tokenizer.pad_token_id,
        "hidden_act": "gelu",
    }
    for tower in (vision, text):
        tower["projection_dim"] = settings.projection
    torch.manual_seed(settings.seed)
    config = CLIPConfig(vision_config=vision, text_config=text, projection_dim=settings.projection)
    # Plain attention: for sequences this short and bfloat16 on a CPU, its backward pass is several times faster.
    model = CLIPModel._from_config(config, attn_implementation="eager")
    _start_positions(model)
    return model


@torch.no_grad()
def _start_positions(model: CLIPModel, scale: float = 0.2) -> None:
    """Starts the patches' position embedding at sines and cosines of column and row, as loud as the patches are.

    CLIP's own start is random and ten times fainter; a long training does not mind, but this one would spend most of
    its few minutes on finding out that patches have places.
    """
    embeddings = model.vision_model.embeddings
    side, width = embeddings.image_size // embeddings.patch_size, embeddings.embed_dim
    places = torch.arange(side) / side
    frequencies = 2 * math.pi * 2.0 ** torch.linspace(-1.5, math.log2(side / 2), width // 4)
    waves = torch.cat([(places[:, None] * frequencies).sin(), (places[:, None] * frequencies).cos()], dim=1)
    across, down = waves[None].expand(side, -1, -1), waves[:, None].expand(-1, side, -1)
    grid = torch.cat([across, down], dim=-1).flatten(0, 1)
    embeddings.position_embedding.weight[1:, : grid.shape[1]] += scale * grid


def build_image_processor(image_size: int) -> CLIPImageProcessor:
    return CLIPImageProcessor(
        size={"shortest_edge": image_size}, crop_size={"height": image_size, "width": image_size}
    )


def paint_stills(stills: Sequence[Still], processor: CLIPImageProcessor) -> torch.Tensor:
    """Paints stills and resizes them as the image processor does: (N, 3, image_size, image_size) uint8."""

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
    """What the image processor does after resizing: (N, 3, H, W) uint8 to float32."""
    mean, std = (torch.tensor(values).view(3, 1, 1) for values in (processor.image_mean, processor.image_std))
    return (pictures / 255 - mean) / std


class CaptionedBatches(Dataset):
    """Batch number `step` of the training pictures, with captions written for it; the same whenever asked for."""

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
        """The share that each token has in the words of each picture's captions: (pictures, vocabulary)."""
        tokens = self.tokenizer([" ".join(texts) for texts in captions], add_special_tokens=False)
        words = torch.zeros(len(captions), len(self.tokenizer))
        for row, numbers in zip(words, tokens.input_ids, strict=True):
            row.index_add_(0, torch.tensor(numbers), torch.full((len(numbers),), 1 / len(numbers)))
        return words


def contrastive_loss(
    image_embeds: torch.Tensor, text_embeds: torch.Tensor, scale: torch.Tensor, truth: torch.Tensor
) -> torch.Tensor:
    """CLIP's loss, but a picture is not pushed away from another picture's caption that is true of it too.

    Args:
        image_embeds, text_embeds: (B, D), of any length; row i of both belong together.
        scale: what cosines are multiplied by.
        truth: (B, B) bool, whether caption j is true of picture i.
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
    """The loss of a batch: CLIP's, and, weighted, how badly the words of a picture's captions are guessed from it.

    Guessing words needs no text tower, so the vision tower learns from the first step on what captions speak of,
    and the text tower has something to align to. Early layers guess too: Vita-CLIP's prompts look at what the class
    token knows when it *enters* a layer, and a CLIP of four layers would otherwise see sharply only at its end.
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
        # Steps as large as AdamW's would be, so that one learning rate serves both.
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


def pretrain(settings: PretrainingSettings, output: str | os.PathLike, log_every: int = 200) -> dict[str, float]:
    """Makes the tiny CLIP and writes it to a folder, which appears, or is replaced, once everything is done.

    Args:
        settings: what to make.
        output: the folder: model, tokenizer, image processor, settings, `log.jsonl` and a card.
        log_every: steps between two measurements on the held-out pictures.

    Returns:
        The last line of the log: step, seconds, mean loss, and what `evaluate_tiny_clip` measures.
    """
    tokenizer, processor = build_tokenizer(settings), build_image_processor(settings.image_size)
    model = build_model(settings, tokenizer)
    train, held_out = _draw_stills(settings, settings.pictures, 4), _draw_stills(settings, settings.held_out, 3)
    batches = CaptionedBatches(settings, tokenizer, train, paint_stills(train, processor))
    held_out_pixels = normalize(paint_stills(held_out, processor), processor)

    def measure() -> dict[str, float]:
        return evaluate_tiny_clip(model, tokenizer, held_out_pixels, held_out)

    log = _train(model, batches, processor, settings, measure, log_every)
    visible = sum(int(still.attributes[0]) for still in held_out)
    card = render_card(asdict(settings), log[-1], sum(weight.numel() for weight in model.parameters()), visible)
    _save(Path(output), (model, tokenizer, processor), settings, log, card)
    return log[-1]


def _draw_stills(settings: PretrainingSettings, count: int, stream: int) -> list[Still]:
    rng = np.random.default_rng([settings.seed, stream])
    return [draw_still(rng) for _ in range(count)]


def _train(
    model: CLIPModel,
    batches: CaptionedBatches,
    processor: CLIPImageProcessor,
    settings: PretrainingSettings,
    measure: Callable[[], dict[str, float]],
    log_every: int,
) -> list[dict[str, float]]:
    """Trains the model in place; returns the log."""
    # A worker writes captions ahead; pictures are painted once, as painting costs as much as half a training step.
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


def _save(
    output: Path,
    parts: tuple[CLIPModel, CLIPTokenizer, CLIPImageProcessor],
    settings: PretrainingSettings,
    log: list[dict[str, float]],
    card: str,
) -> None:
    unfinished = output.with_name(f".{output.name}.unfinished")
    shutil.rmtree(unfinished, ignore_errors=True)
    unfinished.mkdir(parents=True)
    for part in parts:
        part.save_pretrained(unfinished)
    files = {
        "README.md": card,
        "log.jsonl": "".join(json.dumps(line) + "\n" for line in log),
        "settings.json": json.dumps(asdict(settings), indent=1) + "\n",
    }
    for name, text in files.items():
        (unfinished / name).write_text(text, encoding="utf-8")
    if output.exists():
        shutil.rmtree(output)
    (unfinished / "model.safetensors").chmod(0o644)  # safetensors leaves it to its owner alone
    unfinished.replace(output)


def main(arguments: list[str] | None = None) -> None:
    parser = argparse.ArgumentParser(
        prog="python -m vita_clip_hf.demo.pretrain_tiny_clip",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--output", type=Path, default=Path("tiny_clip"), help="folder to write (default: tiny_clip)")
    parser.add_argument("--log-every", type=int, default=200, help="steps between measurements (default: 200)")
    for setting in fields(PretrainingSettings):
        flag, kind = "--" + setting.name.replace("_", "-"), type(setting.default)
        meaning = f"{setting.metadata['help']} (default: {setting.default})"
        parser.add_argument(flag, type=kind, default=setting.default, help=meaning)
    options = vars(parser.parse_args(arguments))
    output, log_every = options.pop("output"), options.pop("log_every")
    pretrain(PretrainingSettings(**options), output, log_every)
    print(f"written to {output}")


if __name__ == "__main__":
    main()
