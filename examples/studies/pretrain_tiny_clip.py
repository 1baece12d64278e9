"""
Pretrains the tiny CLIP that the demo starts from, on generated pictures and captions. Nothing in them moves.

    python examples/studies/pretrain_tiny_clip.py --output runs/tiny_clip

The loss is CLIP's: which caption belongs to which picture. The result is an ordinary checkpoint, in
`pretraining_runs/tiny_CLIP-seed0/checkpoint` of the output folder: `CLIPModel.from_pretrained`,
`CLIPTokenizer.from_pretrained` and `CLIPImageProcessor.from_pretrained` load it.
"""

from __future__ import annotations

import json
import os
from collections.abc import Sequence
from dataclasses import asdict, fields
from pathlib import Path
from typing import Any

import numpy as np
from study import Figures, Study, study_parser
from tiny_clip.card import format_tables, render_card
from tiny_clip.evaluation import evaluate_tiny_clip
from tiny_clip.model import PretrainingSettings, build_image_processor, build_model, build_tokenizer
from tiny_clip.stills import Still, draw_still
from tiny_clip.training import CaptionedBatches, normalize, paint_stills, train
from transformers import CLIPImageProcessor, CLIPModel, CLIPTokenizer
from vita_clip_hf.modeling.adapter_file_vita_clip import written_whole

NAME, ROW = "pretraining", "tiny CLIP"


def build_study(settings: PretrainingSettings, log_every: int = 200) -> Study:
    """One row; its figures are those of `pretrain`, and its folder holds the checkpoint."""

    def measure(row: dict[str, Any], seed: int, folder: Path) -> Figures:
        return pretrain(PretrainingSettings(**{**row, "seed": seed}), folder / "checkpoint", log_every)

    row = {name: value for name, value in asdict(settings).items() if name != "seed"}
    return Study(NAME, {ROW: row}, measure, lambda runs: "\n".join(format_tables(figures) for figures in runs[ROW]))


def pretrain(settings: PretrainingSettings, output: str | os.PathLike, log_every: int = 200) -> dict[str, Any]:
    """
    Makes a tiny CLIP and writes its files to a folder when all of them are complete.

    Args:
        settings: the model and its training.
        output: the folder: model, tokenizer, image processor, settings, `log.jsonl` and a card.
        log_every: steps between two measurements on the held-out pictures.

    Returns:
        The last line of the log: step, seconds, mean loss, and the figures of `evaluate_tiny_clip`.
    """
    tokenizer, processor = build_tokenizer(settings), build_image_processor(settings.image_size)
    model = build_model(settings, tokenizer)
    pictures, held_out = draw_stills(settings, settings.pictures, 4), draw_stills(settings, settings.held_out, 3)
    batches = CaptionedBatches(settings, tokenizer, pictures, paint_stills(pictures, processor))
    held_out_pixels = normalize(paint_stills(held_out, processor), processor)

    def measure() -> dict[str, float]:
        return evaluate_tiny_clip(model, tokenizer, held_out_pixels, held_out)

    log = train(model, batches, processor, settings, measure, log_every)
    card = render_card(asdict(settings), log[-1], parameters=sum(weight.numel() for weight in model.parameters()))
    _save(Path(output), (model, tokenizer, processor), settings, log, card)
    return log[-1]


def draw_stills(settings: PretrainingSettings, count: int, stream: int) -> list[Still]:
    """Pictures of one of the settings' random streams: 3 is held out, 4 is trained on."""
    rng = np.random.default_rng([settings.seed, stream])
    return [draw_still(rng) for _ in range(count)]


def _save(
    output: Path,
    parts: tuple[CLIPModel, CLIPTokenizer, CLIPImageProcessor],
    settings: PretrainingSettings,
    log: list[dict[str, float]],
    card: str,
) -> None:
    files = {
        "README.md": card,
        "log.jsonl": "".join(json.dumps(line) + "\n" for line in log),
        "settings.json": json.dumps(asdict(settings), indent=1) + "\n",
    }
    with written_whole(output) as folder:
        for part in parts:
            part.save_pretrained(folder)
        for name, text in files.items():
            (folder / name).write_text(text, encoding="utf-8")
        (folder / "model.safetensors").chmod(0o644)  # safetensors writes it for its owner alone


def main(arguments: Sequence[str] | None = None) -> None:
    parser = study_parser("tiny_clip", __doc__)
    parser.add_argument("--log-every", type=int, default=200, help="steps between measurements (default: 200)")
    numbers = [setting for setting in fields(PretrainingSettings) if setting.name != "seed"]
    for setting in numbers:
        flag, kind = "--" + setting.name.replace("_", "-"), type(setting.default)
        meaning = f"{setting.metadata['help']} (default: {setting.default})"
        parser.add_argument(flag, type=kind, default=setting.default, help=meaning)
    options = parser.parse_args(arguments)
    settings = PretrainingSettings(**{setting.name: getattr(options, setting.name) for setting in numbers})
    build_study(settings, options.log_every).run(options.output, options.seeds)


if __name__ == "__main__":
    main()
