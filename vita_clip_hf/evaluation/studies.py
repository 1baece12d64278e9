"""Studies: methods that are each trained with several seeds. Their file, their tables, their picture."""

import json
import math
import os
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import fmean
from typing import Any

from ..visualize.tradeoff import MeasuredAxis, draw_tradeoff
from .tables import in_percent, markdown_table, mean_and_deviation

Figures = dict[str, float]
SIZE = "parameters"  # the figure that gives a marker its area
CHANCE = "chance_"  # before a figure's name: what guessing gives


@dataclass(frozen=True)
class Measure:
    """
    How a figure is read.

    Args:
        title: in tables.
        chance: what guessing gives; `None` where that depends on the study, which then says it in a figure of its own:
            that of `"top_1"` in `"chance_top_1"`.
        is_share: whether it goes from 0 to 1, and is shown in percent.
        axis: its title at the axis of a picture; by default the title.
    """

    title: str
    chance: float | None = None
    is_share: bool = True
    axis: str | None = None


# By name; the studies of examples/studies/ write them. Other figures are shown by their names, as they are.
_MOTIONS, _HALF = 1 / 14, 1 / 7
_STILLS = {"shape": 1 / 9, "color": 1 / 10, "size": 1 / 5, "place across": 1 / 5, "place down": 1 / 5}
MEASURES = {
    SIZE: Measure("trained parameters", is_share=False),
    "top_1": Measure("top-1"),
    "top_5": Measure("top-5"),
    "within_pairs": Measure("within reversed pairs"),
    # of compare_methods.py
    "seen_top_1": Measure("top-1", _MOTIONS, axis="supervised: top-1 of 14 motions"),
    "unseen_top_1": Measure("top-1, unseen combinations", _MOTIONS),
    "unseen_motion": Measure(
        "motion of unseen combinations by caption",
        _MOTIONS,
        axis="zero-shot: motion of unseen combinations by caption",
    ),
    "unseen_caption": Measure("whole caption of unseen combinations"),
    "seen_motion": Measure("motion by caption", _MOTIONS),
    "seen_caption": Measure("whole caption"),
    "retention": Measure(
        "stills by name", fmean(_STILLS.values()), axis="zero-shot: shape, colour, size and place by name"
    ),
    **{f"retained/{name}": Measure(name.replace("color", "colour"), chance) for name, chance in _STILLS.items()},
    "base": Measure("base", _HALF, axis="base: top-1 of 7 trained motions"),
    "novel": Measure("novel", _HALF, axis="novel: top-1 of 7 other motions by name"),
    "harmonic_mean": Measure("harmonic mean", _HALF),
    "cpu_seconds": Measure("CPU seconds", is_share=False),
}
GROUPS = {"retained": "Stills by name, one by one"}
# What is learned, and what is kept or reached without: axes of the picture, if a study has them.
TRADEOFFS = (("seen_top_1", ("retention", "unseen_motion")), ("base", ("novel",)))


@dataclass(frozen=True)
class StudyRuns:
    """
    The figures of a study.

    Args:
        name: of the study.
        runs: by row the figures of each seed, all with the same seeds; those inside others have names such as
            `"retained/shape"`.
    """

    name: str
    runs: Mapping[str, list[Figures]]

    @property
    def num_seeds(self) -> int:
        return len(next(iter(self.runs.values())))

    def figures(self) -> list[str]:
        """All names but those of chance: in the order of `MEASURES`, then of their first use."""
        found = dict.fromkeys(name for of_row in self.runs.values() for one in of_row for name in one)
        measured = [name for name in found if not name.rpartition("/")[2].startswith(CHANCE)]
        return [*(name for name in MEASURES if name in measured), *(name for name in measured if name not in MEASURES)]

    def chance(self, figure: str) -> float | None:
        """What guessing gives: as the study says, else as is known of the figure; `None` if neither does."""
        outer, slash, last = figure.rpartition("/")
        said = {one.get(f"{outer}{slash}{CHANCE}{last}") for of_row in self.runs.values() for one in of_row}
        return said.pop() if len(said) == 1 and None not in said else measure_of(figure).chance

    def values(self, row: str, figure: str) -> list[float] | None:
        """Of each seed; `None` if one of them has no such figure."""
        found = [one.get(figure) for one in self.runs[row]]
        return None if None in found else [value for value in found if value is not None]


def study_runs(name: str, runs: Mapping[str, Sequence[Mapping[str, Any]]]) -> StudyRuns:
    """The runs of a study as it keeps them: figures may be inside others, and what is no number is left out."""
    return StudyRuns(name, {row: [dict(_numbers(one)) for one in of_row] for row, of_row in runs.items()})


def load_study(path: str | os.PathLike) -> StudyRuns:
    """
    Reads the JSON file of a study: `{"runs": {row: [figures of each seed]}, "seeds": [...], ...}`.

    Raises:
        OSError: it is not there.
        ValueError: it is no study.
    """
    path = Path(path)
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
        runs, seeds = content["runs"], content["seeds"]
        if not runs or not isinstance(runs, dict) or not seeds or not isinstance(seeds, list):
            raise ValueError("expected runs, by row, and a list of seeds")
        return study_runs(path.stem, {row: _of_each_seed(row, of_row, len(seeds)) for row, of_row in runs.items()})
    except (ValueError, KeyError, TypeError) as error:
        raise ValueError(f"{path}: is no study: {error}.") from error


def _of_each_seed(row: str, found: Any, num_seeds: int) -> list[dict[str, Any]]:
    """The figures of a row; those that follow no seed, such as a frozen model's, may be there once."""
    if (
        not isinstance(found, list)
        or len(found) not in (1, num_seeds)
        or not all(isinstance(one, dict) for one in found)
    ):
        raise ValueError(f"expected a list of {num_seeds} objects, one of each seed, in the row {row!r}")
    return found if len(found) == num_seeds else found * num_seeds


def _numbers(figures: Mapping[str, Any], prefix: str = "") -> Iterator[tuple[str, float]]:
    for name, value in figures.items():
        if isinstance(value, Mapping):
            yield from _numbers(value, f"{prefix}{name}/")
        elif isinstance(value, int | float) and not isinstance(value, bool):
            if not math.isfinite(value):
                raise ValueError(f"{prefix}{name} is {value}")
            yield f"{prefix}{name}", value


# ---- tables ----


def measure_of(figure: str) -> Measure:
    """By its whole name, else by the last part of it: `"test/top_1"` is a top-1 in percent."""
    if figure in MEASURES:
        return MEASURES[figure]
    outer, _, last = figure.rpartition("/")
    if last in MEASURES:
        known = MEASURES[last]
        return Measure(f"{outer}: {known.title}", is_share=known.is_share)
    return Measure(figure, is_share=False)


def study_tables(study: StudyRuns, figures: Sequence[str] | None = None) -> str:
    """
    Mean and standard deviation over the seeds of each row, shares in percent: a table of the figures, and one for each
    group of figures inside another.

    Args:
        figures: those to show, in their order; by default all.
    """
    groups = in_groups(study.figures() if figures is None else figures)
    return "\n".join((f"### {group}\n\n" if group else "") + _table(study, names) for group, names in groups.items())


def in_groups(figures: Sequence[str]) -> dict[str, list[str]]:
    """Figures by the title of the group that they are in; those in none by ""."""
    groups: dict[str, list[str]] = {}
    for figure in figures:
        outer = figure.partition("/")[0] if "/" in figure else ""
        groups.setdefault(GROUPS.get(outer, outer), []).append(figure)
    return groups


def _table(study: StudyRuns, figures: Sequence[str]) -> str:
    measures = {figure: measure_of(figure) for figure in figures}
    rows = [[row, *(_cell(study.values(row, name), of) for name, of in measures.items())] for row in study.runs]
    chances = [study.chance(figure) for figure in figures]
    if any(chance is not None for chance in chances):
        rows.append(["*chance*", *("" if chance is None else f"{100 * chance:.1f}" for chance in chances)])
    return markdown_table(["method", *(of.title for of in measures.values())], rows)


def _cell(values: list[float] | None, measure: Measure) -> str:
    if values is None:
        return ""
    if measure.is_share:
        return in_percent(values)
    average, spread = mean_and_deviation(values)
    form = ",.0f" if average == round(average) or abs(average) >= 100 else ".3g"
    return f"{average:{form}}" + (f" ± {spread:{form}}" if spread else "")


# ---- picture ----


def draw_study(study: StudyRuns, path: Path) -> bool:
    """
    Draws the first of `TRADEOFFS` that all rows have the figures of.

    Returns:
        Whether there is one, so that there is a picture.

    Raises:
        ImportError: matplotlib is missing.
    """
    for x, ys in TRADEOFFS:
        if all(study.values(row, figure) for row in study.runs for figure in (SIZE, x, *ys)):
            sizes = {row: fmean(study.values(row, SIZE) or ()) for row in study.runs}
            draw_tradeoff(_axis(study, x), [_axis(study, y) for y in ys], sizes, study.num_seeds, path)
            return True
    return False


def _axis(study: StudyRuns, figure: str) -> MeasuredAxis:
    measure = measure_of(figure)
    values = {row: mean_and_deviation(study.values(row, figure) or ()) for row in study.runs}
    return MeasuredAxis(measure.axis or measure.title, values, study.chance(figure))


__all__ = [
    "MEASURES",
    "Measure",
    "StudyRuns",
    "draw_study",
    "in_groups",
    "load_study",
    "measure_of",
    "study_runs",
    "study_tables",
]
