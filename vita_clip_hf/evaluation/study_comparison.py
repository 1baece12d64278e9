"""The rows of studies against one of them: differences with intervals over seeds, and the page of all that."""

import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import fmean

from ..modeling.adapter_file_vita_clip import written_whole
from .metrics import paired_t_interval
from .studies import StudyRuns, draw_study, in_groups, measure_of, study_tables
from .tables import markdown_table


@dataclass(frozen=True)
class StudyComparison:
    """
    Args:
        study: of which the rows are compared.
        baseline: the row that the others are measured against.
        figures: that are shown.
    """

    study: StudyRuns
    baseline: str
    figures: Sequence[str]

    def difference(self, row: str, figure: str) -> tuple[float, tuple[float, float] | None] | None:
        """
        Of the means, row - baseline, and the 95 % interval of Student's t over the seeds, which are the same for both;
        `None` if one of them lacks the figure, no interval with one seed.
        """
        first, other = (self.study.values(name, figure) for name in (self.baseline, row))
        if first is None or other is None:
            return None
        return fmean(other) - fmean(first), paired_t_interval(first, other) if len(first) > 1 else None

    def as_markdown(self) -> str:
        """Tables of the figures and of the differences."""
        seeds = self.study.num_seeds
        means = f"Means and standard deviations over {seeds} seeds" if seeds > 1 else "One seed"
        blocks = [f"## {self.study.name}", f"{means}; shares in percent.", study_tables(self.study, self.figures)]
        shares = [name for name in self.figures if measure_of(name).is_share]
        if shares and len(self.study.runs) > 1:
            intervals = f", with 95 % intervals over {seeds} pairs of the same seed (Student's t)" if seeds > 1 else ""
            blocks += [
                f"### Against {self.baseline}",
                f"Differences in percentage points{intervals}. The test clips are the same for all.",
                *(self._difference_table(names) for names in in_groups(shares).values()),
            ]
        return "\n\n".join(block.rstrip("\n") for block in blocks) + "\n"

    def _difference_table(self, figures: Sequence[str]) -> str:
        others = [row for row in self.study.runs if row != self.baseline]
        rows = [[row, *(self._difference_cell(row, name) for name in figures)] for row in others]
        return markdown_table(["method", *(measure_of(name).title for name in figures)], rows)

    def _difference_cell(self, row: str, figure: str) -> str:
        found = self.difference(row, figure)
        if found is None:
            return ""
        difference, interval = found
        bounds = "" if interval is None else f" [{100 * interval[0]:+.1f}, {100 * interval[1]:+.1f}]"
        return f"{100 * difference:+.1f}{bounds}"


def compare_study(
    study: StudyRuns, baseline: str | None = None, figures: Sequence[str] | None = None
) -> StudyComparison:
    """
    Measures the rows of a study against one of them.

    Args:
        baseline: a row; by default the first.
        figures: those to show; by default all.

    Raises:
        ValueError: the study has no such row or figure.
    """
    known = study.figures()
    unknown = [name for name in figures or () if name not in known]
    if unknown:
        raise ValueError(f"{study.name} has no figure {unknown[0]!r}; it has {', '.join(known)}.")
    if baseline is not None and baseline not in study.runs:
        raise ValueError(f"{study.name} has no row {baseline!r}; it has {', '.join(map(repr, study.runs))}.")
    return StudyComparison(study, baseline or next(iter(study.runs)), list(figures or known))


@dataclass(frozen=True)
class StudyComparisons:
    """
    Args:
        comparisons: of studies whose names are all different.
    """

    comparisons: Sequence[StudyComparison]

    def as_markdown(self) -> str:
        """A page of tables."""
        return "\n".join(["# Comparison\n", *(comparison.as_markdown() for comparison in self.comparisons)])

    def save(self, folder: str | os.PathLike) -> Path:
        """
        Writes `comparison.md` and a picture for each study that has one; returns the path of the page.

        Raises:
            ImportError: matplotlib is missing.
        """
        folder = Path(folder)
        blocks = ["# Comparison\n"]
        for comparison in self.comparisons:
            name = comparison.study.name
            blocks.append(comparison.as_markdown())
            if draw_study(comparison.study, folder / f"{name}.png"):
                blocks.append(f"![{name}: what is learned against what is kept]({name}.png)\n")
        with written_whole(folder / "comparison.md") as file:
            file.write_text("\n".join(blocks), encoding="utf-8")
        return folder / "comparison.md"


__all__ = ["StudyComparison", "StudyComparisons", "compare_study"]
