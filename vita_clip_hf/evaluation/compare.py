"""Reports or studies side by side: differences and whether they are more than chance, classes, confusions."""

import json
import os
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import torch

from ..modeling.adapter_file_vita_clip import written_whole
from ..visualize.comparison import draw_accuracy_by_frames, draw_class_bars
from .metrics import mcnemar, paired_bootstrap
from .report import Report, load_report, shown
from .studies import load_study
from .study_comparison import StudyComparisons, compare_study

_MOST_CONFUSED = 10
_MOST_DIFFERENT = 15  # classes in the picture


@dataclass(frozen=True)
class Pair:
    """
    A report measured against the first, over the predictions that both have: of the same part and video.

    Args:
        name: of the other report.
        num_videos: that these predictions are of. A video may have several: in several seeds, draws or splits.
        difference: of top-1, other - first; each video counts alike.
        interval: of the difference, the 95 % paired bootstrap interval over videos.
        p_value: of McNemar's exact test; `None` if videos have several predictions, which do not stand alone.
        by_class: top-1 of both by class, and the number of videos.
    """

    name: str
    num_videos: int
    difference: float
    interval: tuple[float, float]
    p_value: float | None
    by_class: dict[str, tuple[float, float, int]]


@dataclass(frozen=True)
class Comparison:
    """
    Args:
        reports: the first is the one that others are measured against.
        names: of the reports, all different.
        pairs: the others against the first; empty if the reports have no predictions of classes.
        confused: by report the most confused pairs of classes: (right, predicted, count).
        notes: what makes the figures hard to compare.
    """

    reports: list[Report]
    names: list[str]
    pairs: list[Pair] = field(default_factory=list)
    confused: dict[str, list[tuple[str, str, int]]] = field(default_factory=dict)
    notes: list[str] = field(default_factory=list)

    def as_markdown(self) -> str:
        """A page of tables."""
        figures = list(dict.fromkeys(name for report in self.reports for name in report.figures))
        lines = ["# Comparison", "", *(f"> {note}" for note in self.notes), ""]
        lines += [
            "| model | protocol | frames x views | " + " | ".join(figures) + " |",
            "|" + "---|" * (3 + len(figures)),
        ]
        for name, report in zip(self.names, self.reports, strict=True):
            cells = [shown(figure, report.figures.get(figure)) for figure in figures]
            lines.append(f"| {name} | {report.protocol['name']} | {_clips(report)} | {' | '.join(cells)} |")
        if self.pairs:
            lines += ["", f"## Against {self.names[0]}, top-1 on the same videos", ""]
            lines += [
                "| model | videos | difference | 95 % (paired bootstrap) | p (McNemar) |",
                "|---|---|---|---|---|",
            ]
            for pair in self.pairs:
                low, high = pair.interval
                lines.append(
                    f"| {pair.name} | {pair.num_videos} | {100 * pair.difference:+.2f} | "
                    f"[{100 * low:+.2f}, {100 * high:+.2f}] | {_p_value(pair)} |"
                )
            lines += self._class_tables()
        for name, confused in self.confused.items():
            lines += ["", f"## Most confused by {name}", "", "| class | taken for | videos |", "|---|---|---|"]
            lines += [f"| {right} | {predicted} | {count} |" for right, predicted, count in confused]
        return "\n".join(lines) + "\n"

    def save(self, folder: str | os.PathLike) -> Path:
        """
        Writes `comparison.md` and its pictures; returns the path of the page.

        Raises:
            ImportError: matplotlib is missing.
        """
        folder = Path(folder)
        pictures = []
        for pair in self.pairs:
            picture = f"classes_{_file_name(pair.name)}.png"
            bars = _most_different(pair)
            draw_class_bars(
                {label: pair.by_class[label][:2] for label in bars}, (self.names[0], pair.name), folder / picture
            )
            pictures.append((f"Top-1 by class, the {len(bars)} most different: {pair.name}", picture))
        points = self._by_frames()
        is_one_figure = len({next(iter(report.figures)) for report in self.reports}) == 1
        if is_one_figure and len({(frames, views) for _, frames, views, _ in points}) > 1:
            draw_accuracy_by_frames(points, folder / "frames_and_views.png")
            pictures.append(("Accuracy against frames and views", "frames_and_views.png"))
        page = self.as_markdown() + "".join(f"\n![{title}]({picture})\n" for title, picture in pictures)
        with written_whole(folder / "comparison.md") as file:
            file.write_text(page, encoding="utf-8")
        return folder / "comparison.md"

    def _class_tables(self) -> list[str]:
        lines = []
        for pair in self.pairs:
            lines += ["", f"## Classes: {pair.name} against {self.names[0]}", ""]
            lines += [f"| class | {self.names[0]} | {pair.name} | videos |", "|---|---|---|---|"]
            for label in _most_different(pair):
                first, other, count = pair.by_class[label]
                lines.append(f"| {label} | {100 * first:.1f} | {100 * other:.1f} | {count} |")
        return lines

    def _by_frames(self) -> list[tuple[str, int, int, float]]:
        """Name, frames of a clip, views, and the first figure of each report."""
        found = []
        for name, report in zip(self.names, self.reports, strict=True):
            frames = next(iter(report.models.values()))["num_frames"]
            views = report.protocol["temporal_views"] * report.protocol["spatial_views"]
            found.append((name, frames, views, next(iter(report.figures.values()))))
        return found


def compare_files(
    paths: Sequence[str | os.PathLike], baseline: str | None = None, figures: Sequence[str] | None = None
) -> Comparison | StudyComparisons:
    """
    Compares reports of `vita-clip evaluate` with each other, or the rows of studies within each.

    Args:
        paths: all of reports, files or their folders, or all of studies, the JSON files of examples/studies/.
        baseline: the row of the studies that others are measured against; by default the first. Of reports it is the
            first report.
        figures: of the studies, to show; by default all.

    Raises:
        OSError: a file is not there.
        ValueError: a file is neither, or they are of both kinds, or what is asked for is not in them.
    """
    of_studies = [_is_study(Path(path)) for path in paths]
    if any(of_studies) and not all(of_studies):
        raise ValueError(
            f"{paths[of_studies.index(True)]} is a study and {paths[of_studies.index(False)]} a report: compare "
            "studies and reports apart."
        )
    if any(of_studies):
        studies = [load_study(path) for path in paths]
        names = [study.name for study in studies]
        if len(set(names)) < len(names):
            numbered = enumerate(studies, start=1)
            studies = [replace(study, name=f"{number}_{study.name}") for number, study in numbered]
        return StudyComparisons([compare_study(study, baseline, figures) for study in studies])
    if baseline is not None or figures is not None:
        raise ValueError("A baseline and figures are chosen for studies; of reports the first is the baseline.")
    return compare_reports([load_report(path) for path in paths])


def _is_study(path: Path) -> bool:
    """Whether a file is a study; if not, it is a report or the folder of one. Raises as [`compare_files`]."""
    if path.is_dir():
        return False
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except ValueError as error:
        raise ValueError(f"{path}: is no JSON: {error}.") from error
    keys = list(content) if isinstance(content, dict) else []
    if "runs" not in keys and "format" not in keys:
        found = f"an object with {', '.join(keys[:8]) or 'nothing in it'}"
        raise ValueError(
            f"{path}: is neither a report of `vita-clip evaluate`, which has a format, nor a study, which has runs; "
            f"found {found if isinstance(content, dict) else type(content).__name__}."
        )
    return "runs" in keys


def compare_reports(reports: Sequence[Report]) -> Comparison:
    """
    Compares reports, the first of which the others are measured against.

    Raises:
        ValueError: there are fewer than two, or two have predictions but no video in common.
    """
    if len(reports) < 2:
        raise ValueError(f"A comparison needs at least two reports, found {len(reports)}.")
    names = _distinct_names(reports)
    comparison = Comparison(list(reports), names, notes=_differences(reports, names))
    if all(_classified(report) for report in reports):
        first, *others = _by_video(reports)
        for name, other in zip(names[1:], others, strict=True):
            pair = _pair(name, first, other)
            comparison.pairs.append(pair)
            counts = [len({key[1:4] for key in found}) for found in (other, first)]
            if pair.num_videos < max(counts):
                comparison.notes.append(
                    f"{name} has {counts[0]} videos and {names[0]} {counts[1]}; differences are over the "
                    f"{pair.num_videos} that both have."
                )
        for name, report in zip(names, reports, strict=True):
            comparison.confused[name] = most_confused(report.predictions or [])
    return comparison


def most_confused(predictions: Sequence[dict[str, Any]], number: int = _MOST_CONFUSED) -> list[tuple[str, str, int]]:
    """The pairs (right class, predicted class, videos) that are confused most often."""
    wrong = Counter((row["label"], row["predicted"]) for row in predictions if not row["correct"])
    ordered = sorted(wrong.items(), key=lambda entry: (-entry[1], entry[0]))
    return [(right, predicted, count) for (right, predicted), count in ordered[:number]]


def _classified(report: Report) -> bool:
    return bool(report.predictions) and "correct" in (report.predictions or [{}])[0]


def _by_video(reports: Sequence[Report]) -> list[dict[tuple, dict[str, Any]]]:
    """
    Of each report the predictions by part, video, span and label. A video is known by the end of its path, as many
    folders before its name as tell apart the videos of each report: other machines have the same videos elsewhere.
    """
    paths = [{row["video"]: _steps(row["video"]) for row in report.predictions or []} for report in reports]
    deepest = max(len(steps) for of_report in paths for steps in of_report.values())
    depth = 1
    while depth < deepest and any(
        len({steps[-depth:] for steps in of_report.values()}) < len(of_report) for of_report in paths
    ):
        depth += 1
    return [
        {
            (row["part"], of_report[row["video"]][-depth:], row["start"], row["end"], row["label"]): row
            for row in report.predictions or []
        }
        for report, of_report in zip(reports, paths, strict=True)
    ]


def _steps(path: str) -> tuple[str, ...]:
    """A path of any system in its parts."""
    return tuple(path.replace("\\", "/").split("/"))


def _pair(name: str, first: dict[tuple, dict[str, Any]], other: dict[tuple, dict[str, Any]]) -> Pair:
    keys = [key for key in first if key in other]
    if not keys:
        raise ValueError(f"{name} has no video in common with the first report; were they made on the same list?")
    rights = [torch.tensor([rows[key]["correct"] for key in keys]) for rows in (first, other)]
    labels = [first[key]["label"] for key in keys]
    by_class = {}
    for label in sorted(set(labels)):
        of_class = torch.tensor([found == label for found in labels])
        first_share, other_share = (right[of_class].double().mean().item() for right in rights)
        by_class[label] = (first_share, other_share, int(of_class.sum()))
    videos: dict[tuple, list[int]] = {}
    for number, key in enumerate(keys):
        videos.setdefault(key[1:4], []).append(number)
    shares = [[float(right[numbers].double().mean()) for numbers in videos.values()] for right in rights]
    found = paired_bootstrap(shares[0], shares[1])
    stand_alone = len(videos) == len(keys)
    p_value = mcnemar(*(right.tolist() for right in rights)).p_value if stand_alone else None
    return Pair(name, len(videos), found.difference, (found.low, found.high), p_value, by_class)


def _p_value(pair: Pair) -> str:
    return "videos recur" if pair.p_value is None else f"{pair.p_value:.2g}"


def _most_different(pair: Pair) -> list[str]:
    return sorted(pair.by_class, key=lambda label: (-abs(pair.by_class[label][1] - pair.by_class[label][0]), label))[
        :_MOST_DIFFERENT
    ]


def _differences(reports: Sequence[Report], names: Sequence[str]) -> list[str]:
    """Facts in which the protocols differ, data sets, lists and numbers of classes that differ, partial reports."""
    notes = []
    first = reports[0]
    for name, report in zip(names[1:], reports[1:], strict=True):
        for fact, value in report.protocol.items():
            if fact in ("name", "summary", "source", "traps"):
                continue
            if value != first.protocol.get(fact):
                notes.append(f"{name}: {fact} is {value}, not {first.protocol.get(fact)} as in {names[0]}.")
        if _list_checksums(report) != _list_checksums(first):
            notes.append(f"{name} was measured on other lists than {names[0]}.")
        if report.data["dataset"] != first.data["dataset"]:
            notes.append(f"{name} was measured on {report.data['dataset']}, {names[0]} on {first.data['dataset']}.")
        numbers = {part.name: part.num_classes for part in first.parts}
        for part in report.parts:
            if numbers.get(part.name, part.num_classes) != part.num_classes:
                notes.append(
                    f"{name} tells {part.num_classes} classes apart in {part.name}, {names[0]} {numbers[part.name]}."
                )
                break
    return notes + [f"{name} is partial." for name, report in zip(names, reports, strict=True) if report.is_partial]


def _list_checksums(report: Report) -> set[str]:
    return {entry["checksum"] for entry in report.data["lists"]}


def _distinct_names(reports: Sequence[Report]) -> list[str]:
    short = [Path(report.name.rstrip("/")).name for report in reports]
    for names in (short, [f"{name} ({_clips(report)})" for name, report in zip(short, reports, strict=True)]):
        if len(set(names)) == len(names):
            return names
    return [f"{number}. {name}" for number, name in enumerate(short, start=1)]


def _clips(report: Report) -> str:
    frames = next(iter(report.models.values()))["num_frames"]
    return f"{frames}f {report.protocol['temporal_views']}x{report.protocol['spatial_views']}"


def _file_name(name: str) -> str:
    return "".join(letter if letter.isalnum() or letter in "-_." else "_" for letter in name)


__all__ = ["Comparison", "Pair", "compare_files", "compare_reports", "most_confused"]
