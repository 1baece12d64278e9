"""Evaluations that are published with a checkpoint: their reports without paths of this machine, and their figures."""

import json
from collections.abc import Iterator, Sequence
from pathlib import Path

import yaml
from huggingface_hub import EvalResult
from huggingface_hub.repocard_data import model_index_to_eval_results

from .privacy import without_paths

FOLDER = "evaluation"
EVAL_RESULTS = ".eval_results"
REPORT_FILE, INDEX_FILE, PREDICTIONS_FILE = "report.json", "model-index.yaml", "predictions.parquet"
TEXTS = ("report.md", "report.csv")


def find_reports(folder: Path) -> list[Path]:
    """The folders of reports that stand in `evaluation/` of a checkpoint's folder."""
    return sorted(path.parent for path in (folder / FOLDER).glob(f"**/{REPORT_FILE}"))


def stage_reports(reports: Sequence[Path], target: Path) -> list[EvalResult]:
    """
    Puts reports of `vita-clip evaluate` into `evaluation/` of a folder that is about to be published, with the
    predictions for each video, and the files that the Hub reads into `.eval_results/`.

    Returns:
        Their figures, for the card.

    Raises:
        OSError: there is no report.
        ValueError: it is damaged, or two have one name.
    """
    from datasets import Dataset

    results: list[EvalResult] = []
    for report in reports:
        content = _read(report)
        place = target / FOLDER / str(content["protocol"]["name"]).replace(" ", "-")
        if place.exists():
            place = target / FOLDER / f"{place.name}-{report.name}"
        if place.exists():
            raise ValueError(f"{report}: another report is published as {place.name} already; rename the folder.")
        place.mkdir(parents=True)
        text = json.dumps(without_paths(content), indent=1, ensure_ascii=False)
        (place / REPORT_FILE).write_text(text + "\n", encoding="utf-8")
        for name, found in _texts(report):
            (place / name).write_text(without_paths(found), encoding="utf-8")
        if (report / PREDICTIONS_FILE).is_file():
            rows = Dataset.from_parquet(str(report / PREDICTIONS_FILE), keep_in_memory=True).to_list()
            Dataset.from_list(without_paths(rows)).to_parquet(place / PREDICTIONS_FILE)
        for path in sorted((report / EVAL_RESULTS).glob("*.yaml")):
            (target / EVAL_RESULTS).mkdir(exist_ok=True)
            (target / EVAL_RESULTS / path.name).write_text(
                without_paths(path.read_text(encoding="utf-8")), encoding="utf-8"
            )
        results += _results(report / INDEX_FILE)
    return results


def _read(report: Path) -> dict:
    path = report / REPORT_FILE
    if not path.is_file():
        raise OSError(f"{report}: has no {REPORT_FILE}; expected a folder that `vita-clip evaluate --out` wrote.")
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
        content["protocol"]["name"]
    except (ValueError, TypeError, KeyError) as error:
        raise ValueError(f"{path}: is no report of `vita-clip evaluate`: {error!r}") from error
    return content


def _texts(report: Path) -> Iterator[tuple[str, str]]:
    for name in TEXTS:
        if (report / name).is_file():
            yield name, (report / name).read_text(encoding="utf-8")


def _results(path: Path) -> list[EvalResult]:
    if not path.is_file():
        return []
    try:
        _, results = model_index_to_eval_results(yaml.safe_load(path.read_text(encoding="utf-8"))["model-index"])
    except (yaml.YAMLError, KeyError, TypeError, ValueError) as error:
        raise ValueError(f"{path}: is no model index: {error!r}") from error
    return results


__all__ = ["FOLDER", "find_reports", "stage_reports"]
