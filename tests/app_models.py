"""Two adapters on one base that answer differently, with their processors, for the tests of the app."""

from pathlib import Path

from toy_checkpoint import save_toy_checkpoint, toy_adapter_on, toy_processor

OTHER_LABELS = ["jump", "sit, then stand", "kick"]


def save_two_adapters(folder: Path) -> list[Path]:
    """`adapter` and `other` in a folder; the second has other classes and other prompts."""
    first = save_toy_checkpoint(folder)
    toy_adapter_on(folder / "base", OTHER_LABELS, seed=7).save_pretrained(folder / "other")
    toy_processor().save_pretrained(folder / "other")
    return [first, folder / "other"]
