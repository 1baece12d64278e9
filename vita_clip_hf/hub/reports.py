"""Evaluations that are published with a checkpoint: their reports without paths of this machine, and their figures."""

import json
import re
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import torch
import yaml
from huggingface_hub import EvalResult
from huggingface_hub.repocard_data import model_index_to_eval_results

from ..text_files import read_text
from .privacy import check_rows, without_paths

FOLDER = "evaluation"
EVAL_RESULTS = ".eval_results"
REPORT_FILE, INDEX_FILE, PREDICTIONS_FILE = "report.json", "model-index.yaml", "predictions.parquet"
TEXTS = ("report.md", "report.csv")
PRECISIONS = {name: getattr(torch, name) for name in ("float32", "bfloat16", "float16")}


def find_reports(folder: Path) -> list[Path]:
    """The folders of reports that stand in `evaluation/` of a checkpoint's folder."""
    return sorted(path.parent for path in (folder / FOLDER).glob(f"**/{REPORT_FILE}"))


def stage_reports(reports: Sequence[Path], checkpoint: Path, target: Path) -> list[EvalResult]:
    """
    Puts reports of `vita-clip evaluate` into `evaluation/` of a folder that is about to be published, with the
    predictions for each video, and the files that the Hub reads into `.eval_results/`.

    Args:
        reports: folders of them.
        checkpoint: folder of the model that is published; it is loaded, to see that the reports are about it.
        target: the folder.

    Returns:
        Their figures, for the card.

    Raises:
        OSError: there is no report, or the checkpoint's base cannot be loaded.
        ValueError: it is damaged, or about another model, or two have one name.
    """
    from datasets import Dataset

    results: list[EvalResult] = []
    own: dict[str, str] = {}
    for report in reports:
        content = _read(report)
        _check_is_about(report, content["models"], checkpoint, own)
        place = target / FOLDER / _folder_name(content["protocol"]["name"])
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
            rows = without_paths(_read_rows(report / PREDICTIONS_FILE))
            check_rows(rows, f"{FOLDER}/{place.name}/{PREDICTIONS_FILE}")
            Dataset.from_list(rows).to_parquet(place / PREDICTIONS_FILE)
        for path in sorted((report / EVAL_RESULTS).glob("*.yaml")):
            (target / EVAL_RESULTS).mkdir(exist_ok=True)
            (target / EVAL_RESULTS / path.name).write_text(without_paths(read_text(path)), encoding="utf-8")
        results += _results(report / INDEX_FILE)
    return results


def _read(report: Path) -> dict:
    path = report / REPORT_FILE
    if not path.is_file():
        raise OSError(f"{report}: has no {REPORT_FILE}; expected a folder that `vita-clip evaluate --out` wrote.")
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
        content["protocol"]["name"]
        for facts in content["models"].values():
            PRECISIONS[facts["dtype"]], facts["fingerprint"]
    except (ValueError, TypeError, KeyError, AttributeError, RecursionError) as error:
        raise ValueError(f"{path}: is no report of `vita-clip evaluate`: {error!r}") from error
    return content


def _folder_name(protocol: Any) -> str:
    """Of a protocol's name, which a person may have chosen, what every system takes for the name of a folder."""
    name = re.sub(r"[^\w.-]+", "-", str(protocol)).strip(".-")[:80]
    return name or "report"


def _read_rows(path: Path) -> list[dict[str, Any]]:
    from datasets import Dataset

    try:
        return Dataset.from_parquet(str(path), keep_in_memory=True).to_list()
    except (OSError, ValueError) as error:
        raise ValueError(f"{path}: is no table of predictions: {error}") from error


def _check_is_about(report: Path, models: dict[str, dict[str, Any]], checkpoint: Path, own: dict[str, str]) -> None:
    """Raises `ValueError` if none of a report's models is the checkpoint's; `own` keeps its fingerprints."""
    from ..models.fingerprint import model_fingerprint  # this module is imported while transformers' classes are
    from ..models.loading import load_model

    for facts in models.values():
        precision = facts["dtype"]
        if precision not in own:
            own[precision] = model_fingerprint(load_model(checkpoint, dtype=PRECISIONS[precision])[0])
        if facts["fingerprint"] == own[precision]:
            return
    found = ", ".join(f"{name} ({facts['fingerprint']}, {facts['dtype']})" for name, facts in models.items())
    expected = ", ".join(f"{fingerprint}, {precision}" for precision, fingerprint in own.items())
    raise ValueError(
        f"{report}: is about {found or 'no model'}, and not about {checkpoint} ({expected}). Evaluate the checkpoint "
        "that is published, or leave the report out."
    )


def _texts(report: Path) -> Iterator[tuple[str, str]]:
    for name in TEXTS:
        if (report / name).is_file():
            yield name, read_text(report / name)


def _results(path: Path) -> list[EvalResult]:
    if not path.is_file():
        return []
    try:
        _, results = model_index_to_eval_results(yaml.safe_load(read_text(path))["model-index"])
    except (yaml.YAMLError, KeyError, TypeError, ValueError) as error:
        raise ValueError(f"{path}: is no model index: {error!r}") from error
    return results


__all__ = ["FOLDER", "find_reports", "stage_reports"]
