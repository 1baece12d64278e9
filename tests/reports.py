"""Reports made by hand."""

from typing import Any

from vita_clip_hf.evaluation import Report, load_protocol
from vita_clip_hf.evaluation.report import Part


def report_of(name: str, predictions: list[dict[str, Any]]) -> Report:
    """Of predictions of classes."""
    share = sum(row["correct"] for row in predictions) / len(predictions)
    facts = {"model": name, "dataset": "mine", "videos": "v", "counts": {}, "missing": [], "unreadable": {}}
    return Report(
        models={name: {"num_frames": 8}},
        protocol=load_protocol("zero-shot").to_dict(),
        data={**facts, "lists": [{"path": "list", "checksum": "sha256:0"}], "partial": False},
        parts=[Part("test", {"top_1": share}, None, len(predictions), 4, name, "test")],
        figures={"top_1": share},
        predictions=predictions,
    )
