"""What an evaluation says: its figures and everything that is needed to repeat it, in the forms that people read."""

import csv
import io
import json
import os
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from datetime import datetime, timezone
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from platform import python_version
from typing import Any

import yaml
from datasets import Dataset
from huggingface_hub import EvalResult
from huggingface_hub.repocard_data import eval_results_to_model_index
from pyarrow import parquet

from ..modeling.adapter_file_vita_clip import written_whole
from .protocols import describe_facts

REPORT_FILE, PREDICTIONS_FILE = "report.json", "predictions.parquet"
_FORMAT = 1
_PACKAGES = ("vita-clip-hf", "torch", "torchvision", "transformers", "accelerate", "datasets", "decord2", "numpy")
_NOT_IN_PERCENT = ("median_rank", "mean_rank")


@dataclass(frozen=True)
class Part:
    """
    The figures of one model on one list.

    Args:
        name: such as "test1" or "k16 seed1 test1".
        figures: by name; shares are from 0 to 1.
        interval: of the first figure, the 95 % bootstrap interval over videos; `None` where there is none.
        num_videos: that were counted.
        num_classes: that were told apart; `None` where there are no classes.
        model: name of the model of this part.
        split, shots, seed, draw: which part it is; `None` where there is only one.
        class_texts: "own", "contexts", "templates" or "names": what stood for the classes.
    """

    name: str
    figures: dict[str, float]
    interval: tuple[float, float] | None
    num_videos: int
    num_classes: int | None
    model: str
    split: str
    shots: int | None = None
    seed: int | None = None
    draw: int | None = None
    class_texts: str | None = None


@dataclass
class Report:
    """
    Args:
        models: by name: kind, fingerprint, revision, precision, sampling.
        protocol: all facts, as `Protocol.to_dict` gives them.
        data: videos, lists with their checksums, counts, missing and unreadable videos.
        parts: figures of each part.
        figures: the numbers to quote: those of the only part, or means and deviations.
        notes: how this run differs from the protocol, and what else a reader must know.
        command: the command line, if one was typed.
        predictions: rows about videos; `None` if the report was read without them.
        created: time, ISO 8601.
        versions: of packages.
    """

    models: dict[str, dict[str, Any]]
    protocol: dict[str, Any]
    data: dict[str, Any]
    parts: list[Part]
    figures: dict[str, float]
    notes: list[str] = field(default_factory=list)
    command: list[str] | None = None
    predictions: list[dict[str, Any]] | None = field(default=None, repr=False)
    created: str = field(default_factory=lambda: datetime.now(timezone.utc).isoformat(timespec="seconds"))
    versions: dict[str, str] = field(default_factory=lambda: package_versions())

    @property
    def is_partial(self) -> bool:
        """Whether videos are missing or unreadable, or counts are not the protocol's."""
        return bool(self.data["partial"])

    @property
    def name(self) -> str:
        """Of the model, as it was given."""
        return self.data["model"]

    def to_dict(self) -> dict[str, Any]:
        """All but the predictions, as JSON holds it."""
        content = {"format": _FORMAT, **asdict(self)}
        del content["predictions"]
        return content

    def as_text(self) -> str:
        """Protocol, figures and notes for a terminal."""
        rows = [
            f"{part.name:24} {part.num_videos:>7} videos  " + "  ".join(_named(part.figures)) + _interval(part)
            for part in self.parts[:40]
        ]
        if len(self.parts) > len(rows):
            rows.append(f"... and {len(self.parts) - len(rows)} parts more, in the report")
        facts = describe_facts(self.protocol)
        blocks = [f"model: {self.name}", facts, "\n".join(rows), "\n".join(_named(self.figures)), self.caveats()]
        return "\n\n".join(block for block in blocks if block)

    def caveats(self) -> str:
        """A line for each thing that sets the figures apart from the protocol's; empty if there is none."""
        return "\n".join((["PARTIAL: not the whole list of the protocol."] if self.is_partial else []) + self.notes)

    def as_markdown(self) -> str:
        """A page: figures, protocol, data."""
        names = list(self.parts[0].figures)
        lines = [
            f"# {self.protocol['name']}: {self.name}",
            "",
            *(f"> {line}" for line in self.caveats().splitlines()),
            "",
            "| part | videos | classes | " + " | ".join(names) + " | 95 % |",
            "|" + "---|" * (len(names) + 4),
        ]
        for part in self.parts:
            cells = [shown(name, part.figures.get(name)) for name in names]
            classes = "" if part.num_classes is None else str(part.num_classes)
            lines.append(f"| {part.name} | {part.num_videos} | {classes} | {' | '.join(cells)} | {_interval(part)} |")
        lines += ["", *(f"* {line}" for line in _named(self.figures)), "", "## Protocol", "", "```yaml"]
        lines += [yaml.safe_dump(self.protocol, sort_keys=False, allow_unicode=True, width=110).rstrip(), "```"]
        lines += ["", "## Models, data, versions", "", "```yaml"]
        counts = {name: value for name, value in self.data.items() if name not in ("missing", "unreadable")}
        facts = {"models": self.models, "data": counts, "command": self.command, "versions": self.versions}
        lines += [yaml.safe_dump(facts, sort_keys=False, allow_unicode=True, width=110).rstrip(), "```"]
        return "\n".join(lines) + "\n"

    def as_csv(self) -> str:
        """A row for each part and figure."""
        text = io.StringIO()
        rows = csv.writer(text, lineterminator="\n")
        rows.writerow(["model", "protocol", "part", "figure", "value", "low", "high", "num_videos", "partial"])
        start = (self.name, self.protocol["name"])
        for part in self.parts:
            for number, (name, value) in enumerate(part.figures.items()):
                low, high = part.interval if part.interval and number == 0 else ("", "")
                rows.writerow([*start, part.name, name, value, low, high, part.num_videos, self.is_partial])
        for name, value in self.figures.items():
            rows.writerow([*start, "all", name, value, "", "", "", self.is_partial])
        return text.getvalue()

    def eval_results(self) -> list[EvalResult]:
        """The figures to quote, for a card's `model-index`, as `CardDetails.results` takes them."""
        name = self.protocol["dataset"] or self.data["dataset"]
        task = {"retrieval": "video-text-to-text"}.get(self.protocol["kind"], "video-classification")
        kind = "accuracy" if task == "video-classification" else "recall"
        settings = {"protocol": self.protocol["name"], "partial": self.is_partial}
        return [
            EvalResult(
                task_type=task,
                dataset_type=name,
                dataset_name=f"{name} ({self.protocol['name']})",
                dataset_args=settings,
                metric_type="mean_average_precision" if self.protocol["kind"] == "localisation" else kind,
                metric_name=f"{figure}{' (partial)' if self.is_partial else ''}",
                metric_value=round(value, 6),
            )
            for figure, value in self.figures.items()
        ]

    def save(self, folder: str | os.PathLike, hub_dataset: str | None = None) -> Path:
        """
        Writes `report.json`, `predictions.parquet`, `report.md`, `report.csv` and `model-index.yaml`.

        Args:
            folder: is made if it is not there.
            hub_dataset: id of the benchmark's data set on the Hub: then `.eval_results/PROTOCOL.yaml` is written too,
                which the Hub reads in a model's repository.

        Returns:
            The path of `report.json`, which is written last.
        """
        folder = Path(folder)
        if self.predictions:
            with written_whole(folder / PREDICTIONS_FILE) as file:
                Dataset.from_list(self.predictions).to_parquet(file)
        else:
            (folder / PREDICTIONS_FILE).unlink(missing_ok=True)  # of an earlier report
        index = eval_results_to_model_index(model_name=Path(self.name).name, eval_results=self.eval_results())
        texts = {
            "report.md": self.as_markdown(),
            "report.csv": self.as_csv(),
            "model-index.yaml": yaml.safe_dump({"model-index": index}, sort_keys=False),
        }
        if hub_dataset is not None:
            texts[f".eval_results/{self.protocol['name'].replace(' ', '_')}.yaml"] = self._eval_results_yaml(
                hub_dataset
            )
        texts[REPORT_FILE] = json.dumps(self.to_dict(), indent=1, ensure_ascii=False) + "\n"
        for name, text in texts.items():
            with written_whole(folder / name) as file:
                file.write_text(text, encoding="utf-8")
        return folder / REPORT_FILE

    def _eval_results_yaml(self, hub_dataset: str) -> str:
        from huggingface_hub import EvalResultEntry, eval_result_entries_to_yaml

        notes = f"protocol {self.protocol['name']}{', partial' if self.is_partial else ''}"
        entries = [
            EvalResultEntry(
                hub_dataset,
                task_id=figure,
                value=round(100 * value, 2) if _is_share(figure) else value,
                date=self.created,
                notes=notes,
            )
            for figure, value in self.figures.items()
        ]
        return yaml.safe_dump(eval_result_entries_to_yaml(entries), sort_keys=False)


def load_report(path: str | os.PathLike) -> Report:
    """
    Reads a `report.json`, or the folder that has it, and the predictions beside it if they are there.

    Raises:
        OSError: it is not there.
        ValueError: it is no report, or the predictions are damaged.
    """
    path = Path(path)
    path = path / REPORT_FILE if path.is_dir() else path
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
        if not isinstance(content, dict) or content.pop("format") != _FORMAT:
            raise ValueError(f"expected an object of format {_FORMAT}")
        parts = [
            Part(**{**part, "interval": part["interval"] and tuple(part["interval"])}) for part in content["parts"]
        ]
        report = Report(**{**content, "parts": parts})
        lacking = {"model", "dataset", "lists", "partial"} - set(report.data)
        if lacking:
            raise ValueError(f"its data have no {', '.join(sorted(lacking))}")
    except (ValueError, KeyError, TypeError) as error:
        raise ValueError(f"{path}: is no report of `vita-clip evaluate`: {error}.") from error
    predictions = path.with_name(PREDICTIONS_FILE)
    if predictions.is_file():
        try:
            report.predictions = parquet.read_table(predictions).to_pylist()
        except (ValueError, OSError) as error:  # Arrow raises both
            reason = " ".join(str(error).split())
            raise ValueError(f"{predictions}: is damaged ({reason}); evaluate again, or remove it.") from error
    return report


def shown(name: str, value: float | None) -> str:
    """A figure as people write it: shares in percent, ranks as they are."""
    if value is None:
        return ""
    return f"{100 * value:.2f}" if _is_share(name) else f"{value:.1f}"


def package_versions() -> dict[str, str]:
    """Of what decides about the figures; a package that is not installed is left out."""
    found = {"python": python_version()}
    for package in _PACKAGES:
        try:
            found[package] = version(package)
        except PackageNotFoundError:  # noqa: PERF203
            continue
    return found


def _is_share(name: str) -> bool:
    return not any(rank in name for rank in _NOT_IN_PERCENT)


def _named(figures: Mapping[str, float]) -> Sequence[str]:
    return [f"{name} {shown(name, value)}" for name, value in figures.items()]


def _interval(part: Part) -> str:
    return "" if part.interval is None else f"  [{100 * part.interval[0]:.2f}, {100 * part.interval[1]:.2f}]"


__all__ = ["Part", "Report", "load_report", "package_versions", "shown"]
