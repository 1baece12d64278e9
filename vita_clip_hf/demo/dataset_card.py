"""The card of a folder of Motion Shapes splits, as the Hub shows it."""

import json
import os
from importlib.resources import files
from pathlib import Path

from huggingface_hub import DatasetCard, DatasetCardData

from ..modeling.adapter_file_vita_clip import written_whole
from .motion_shapes import FRAMES_PER_SECOND
from .motions import REVERSED_PAIRS, UNSEEN_REVERSED_PAIRS

CARD_FILE, TEMPLATE = "README.md", "dataset_card.md.jinja"
# The Hub's names for numbers of rows.
_SIZES = ((1_000, "n<1K"), (10_000, "1K<n<10K"), (100_000, "10K<n<100K"))


def render_dataset_card(folder: str | os.PathLike) -> str:
    """
    The text of a card for the splits that `write_split` wrote into a folder.

    Raises:
        OSError: there is none.
    """
    found = sorted(path for path in Path(folder).glob("*/settings.json") if not path.parent.name.startswith("."))
    splits = [json.loads(path.read_text(encoding="utf-8")) for path in found]
    if not splits:
        raise OSError(f"{folder}: has no split of Motion Shapes; expected folders that write_split wrote.")
    splits.sort(key=lambda split: -split["num_clips"])  # that of the training first
    clips = sum(split["num_clips"] for split in splits)
    motion_sets = list(dict.fromkeys(tuple(split["motions"]) for split in splits))
    known = {motion for motions in motion_sets for motion in motions}
    metadata = DatasetCardData(
        pretty_name="Motion Shapes",
        license="apache-2.0",
        language=["en"],
        task_categories=["video-classification"],
        size_categories=[next((name for limit, name in _SIZES if clips < limit), "100K<n<1M")],
        annotations_creators=["machine-generated"],
        tags=["video", "synthetic", "motion-shapes", "vita-clip"],
        viewer=False,  # the lists have no header
    )
    card = DatasetCard.from_template(
        metadata,
        template_str=files("vita_clip_hf.hub_cards").joinpath(TEMPLATE).read_text(encoding="utf-8"),
        splits=splits,
        frames=_one_or_range([split["num_frames"] for split in splits]),
        size=_one_or_range([split["size"] for split in splits]),
        rate=FRAMES_PER_SECOND,
        motion_sets=motion_sets,
        pairs=[pair for pair in (*REVERSED_PAIRS, *UNSEEN_REVERSED_PAIRS) if known.issuperset(pair)],
    )
    return str(card).rstrip() + "\n"


def write_dataset_card(folder: str | os.PathLike) -> Path:
    """Writes the card as the folder's `README.md`, so that the folder can be uploaded as it is; returns its path."""
    text = render_dataset_card(folder)
    with written_whole(Path(folder) / CARD_FILE) as file:
        file.write_text(text, encoding="utf-8")
    return Path(folder) / CARD_FILE


def _one_or_range(values: list[int]) -> str:
    return str(values[0]) if len(set(values)) == 1 else f"{min(values)} to {max(values)}"


__all__ = ["render_dataset_card", "write_dataset_card"]
