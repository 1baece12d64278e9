"""Temporal localisation as a metric module of `evaluate`: mean average precision over thresholds of tIoU."""

import datasets
import evaluate

from vita_clip_hf.evaluation.metrics import ACTIVITYNET_THRESHOLDS, temporal_map

_DESCRIPTION = "Mean average precision at thresholds of temporal intersection over union, as ActivityNet's evaluator."
_INPUTS = """
Args:
    predictions: for each video a list of {"start", "end", "label", "score"}, in seconds.
    references: for each video a list of {"start", "end", "label"}, in the same order of videos.
    tiou_thresholds: by default 0.5 to 0.95 in steps of 0.05.
    dedupe: repeated events, events of no length and unknown labels as OpenTAD's port of the evaluator treats them.
Returns:
    map_at_T for each threshold T, and their mean as average_map.
"""


class TemporalMap(evaluate.Metric):
    """`evaluate.load(PATH_OF_THIS_FOLDER).compute(predictions=..., references=..., tiou_thresholds=...)`."""

    def _info(self) -> evaluate.MetricInfo:
        second, label = datasets.Value("float64"), datasets.Value("string")
        event = {"start": second, "end": second, "label": label}
        features = datasets.Features(
            {"predictions": [{**event, "score": datasets.Value("float64")}], "references": [event]}
        )
        return evaluate.MetricInfo(
            description=_DESCRIPTION, citation="", inputs_description=_INPUTS, features=features
        )

    def _compute(
        self, predictions, references, tiou_thresholds=ACTIVITYNET_THRESHOLDS, dedupe=False
    ) -> dict[str, float]:
        detections = {
            str(video): [(s["start"], s["end"], s["label"], s["score"]) for s in segments]
            for video, segments in enumerate(predictions)
        }
        events = {
            str(video): [(s["start"], s["end"], s["label"]) for s in segments]
            for video, segments in enumerate(references)
        }
        found = temporal_map(events, detections, tiou_thresholds, dedupe)
        average = sum(found.values()) / len(found)
        return {**{f"map_at_{threshold:.4g}": figure for threshold, figure in found.items()}, "average_map": average}
