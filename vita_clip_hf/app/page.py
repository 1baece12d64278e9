"""Pieces of the page as HTML: ranked bars and the timeline. Every text of a person is escaped here."""

from collections.abc import Sequence
from html import escape

from .session import Ranking
from .timeline import Segment, Window, clock, segments

# Tints that dark text is read on, with 7 : 1 or more; the colour is never the only sign.
TINTS = ("#a6d8e7", "#f4cf8f", "#b9e0bd", "#e3c3ee", "#f3b8b0", "#d9d8a2", "#c2cdf5", "#d8c9b8")
# Windows that are shorter than this share of the video leave their names to the legend.
SHORTEST_NAMED = 1 / 9
ONE_LABEL = "There is one label to choose from, which then has all of the probability. Each line is a label."
NOTHING_YET = '<p class="vc-hint">Pick a clip: labels, timeline and attention appear here.</p>'


def ranked_bars(title: str, ranking: Ranking, note: str = "") -> str:
    """
    A ranking as a list of bars.

    Args:
        title: above it, such as "Prompts on".
        ranking: `[{"label", "score"}, ...]`, best first.
        note: below the title.
    """
    rows = "".join(_bar(entry["label"], entry["score"]) for entry in ranking)
    note = f'<span class="vc-note">{escape(note)}</span>' if note else ""
    return f'<section class="vc-ranking"><h2>{escape(title)}{note}</h2><ol>{rows}</ol></section>'


def side_by_side(on: Ranking, off: Ranking, what: str, hint: str = "") -> str:
    """The ranking with prompts and the one without, of `what`: the whole video, or a part of it; below them a hint."""
    hint = f'<p class="vc-hint">{escape(hint)}</p>' if hint else ""
    pair = ranked_bars("Prompts on", on, "Vita-CLIP") + ranked_bars("Prompts off", off, "frozen CLIP")
    return f'<div class="vc-answer"><p class="vc-what">{escape(what)}</p><div class="vc-pair">{pair}</div>{hint}</div>'


def no_answer(why: str) -> str:
    """In the place of an answer, why there is none."""
    return f'<p class="vc-hint" role="alert">No answer: {escape(why)}</p>'


def timeline_bar(windows: Sequence[Window] | None) -> str:
    """Windows as buttons in a row, as wide as they are long. `timeline.js` makes them seek."""
    if windows is None:
        return '<p class="vc-hint">The file does not say when its frames are shown, so it has no timeline.</p>'
    pieces = segments(windows)
    total = sum(piece.seconds for piece in pieces)
    buttons = "".join(_segment(piece, is_named=piece.seconds >= total * SHORTEST_NAMED) for piece in pieces)
    colors = {piece.window.label: TINTS[piece.color % len(TINTS)] for piece in pieces}
    legend = "".join(
        f'<li><span class="vc-swatch" style="background:{color}" aria-hidden="true"></span>{escape(label)}</li>'
        for label, color in colors.items()
    )
    times = f"<span>{clock(pieces[0].window.start)}</span><span>{clock(pieces[-1].end)}</span>"
    return (
        '<div class="vc-timeline" role="group" aria-label="Timeline: choose a part to go there">'
        f'<div class="vc-track">{buttons}<span class="vc-head" aria-hidden="true"></span></div>'
        f'<div class="vc-times" aria-hidden="true">{times}</div><ul class="vc-legend">{legend}</ul></div>'
    )


def _bar(label: str, score: float) -> str:
    return (
        f'<li><span class="vc-label">{escape(label)}</span><span class="vc-score">{score:.1%}</span>'
        f'<span class="vc-bar" aria-hidden="true"><span style="width:{100 * score:.1f}%"></span></span></li>'
    )


def _segment(piece: Segment, is_named: bool) -> str:
    window = piece.window
    words = f"{clock(window.start)} to {clock(window.end)}: {window.label}, {window.score:.0%}"
    return (
        f'<button type="button" class="vc-window" data-start="{window.start:.3f}" data-end="{window.end:.3f}" '
        f'data-until="{piece.end:.3f}" data-label="{escape(window.label)}" '
        f'title="{escape(words)}" aria-label="{escape(words)}" '
        f'style="flex:{max(piece.seconds, 0.001):.3f} 1 0;background:{TINTS[piece.color % len(TINTS)]}">'
        f"<span>{escape(window.label) if is_named else ''}</span></button>"
    )


__all__ = ["NOTHING_YET", "ONE_LABEL", "no_answer", "ranked_bars", "side_by_side", "timeline_bar"]
