"""A matplotlib figure and its file. matplotlib is imported here alone, and only when a picture is drawn."""

from __future__ import annotations

import logging
import warnings
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ..modeling.adapter_file_vita_clip import written_whole

if TYPE_CHECKING:
    from matplotlib.figure import Figure

logger = logging.getLogger(__name__)

INK, GREY, BEFORE, AFTER, GOOD = "#222222", "#999999", "#b07d2b", "#1f6f8b", "#2f7d4f"


def new_figure(width: float, height: float) -> Figure:
    """
    An empty figure of `width` x `height` inches. It is not bound to a window, so no display is needed.

    Raises:
        ImportError: matplotlib is missing.
    """
    try:
        from matplotlib.figure import Figure
    except ImportError as error:
        raise ImportError("Pictures need matplotlib: pip install 'vita-clip-hf[demo]'.") from error
    return Figure(figsize=(width, height), layout="constrained")


def open_frame(axis: Any) -> None:
    """Draws the axes on the left and below, without a frame around the picture."""
    axis.spines[["top", "right"]].set_visible(False)


def plain_text(text: str) -> str:
    """A name of somebody else's as it is drawn: matplotlib takes what stands between two `$` for a formula."""
    return text.replace("$", r"\$")


def save(figure: Figure, path: Path) -> None:
    """
    Writes a PNG file whole or not at all. Letters that matplotlib's font lacks, such as Chinese ones, are drawn in a
    font of this machine; a warning names those that none has.
    """
    with written_whole(path) as file, warnings.catch_warnings():
        warnings.filterwarnings("ignore", message="Glyph .* missing from")  # it says so for each letter and each draw
        lacking = _choose_fonts(figure)
        figure.savefig(file, dpi=130, format="png", facecolor="white")
    if lacking:
        logger.warning(
            f"{path}: no font of this machine has {''.join(sorted(lacking))[:40]!r}, so boxes stand in their place. "
            "Install one that has them, such as Noto Sans CJK."
        )


def _choose_fonts(figure: Figure) -> set[str]:
    """Gives the texts of a figure the fonts that have their letters; returns the letters that no font has."""
    from matplotlib import font_manager
    from matplotlib.text import Text

    figure.draw_without_rendering()  # the texts at the axes are written only now
    texts = figure.findobj(Text)
    lacking = {letter for text in texts for letter in text.get_text() if letter.isprintable()}
    families: list[str] = []
    usual = font_manager.findfont(font_manager.FontProperties())
    # The last resort has a box for each letter that there is.
    others = [font for font in font_manager.fontManager.ttflist if not font.name.startswith("Last Resort")]
    others.sort(key=lambda font: ("CJK" not in font.name, font.name))
    for name, file in [("", usual), *((font.name, font.fname) for font in others)]:
        if not lacking:
            break
        found = lacking & _letters_of(file)
        if found and name:
            families.append(name)
        lacking -= found
    for text in texts if families else ():
        text.set_fontfamily([*text.get_fontfamily(), *families])
    return lacking


def _letters_of(font_file: str) -> set[str]:
    from matplotlib.ft2font import FT2Font

    try:
        return {chr(code) for code in FT2Font(font_file).get_charmap()}
    except (OSError, RuntimeError):  # removed since matplotlib listed it, or of a kind that it cannot read
        return set()
