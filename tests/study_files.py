"""Study files made by hand: what examples/studies/compare_methods.py writes, of two methods and two seeds."""

import json
from pathlib import Path
from typing import Any


def figures_of(top_1: float, kept: float, parameters: int) -> dict[str, Any]:
    """Of one run."""
    still = {"shape": kept, "color": kept + 0.1, "size": kept, "place across": kept, "place down": kept}
    return {
        "cpu_seconds": 150.25,
        "parameters": parameters,
        "seen_top_1": top_1,
        "unseen_motion": top_1 / 2,
        "retained": still,
        "retention": kept,
    }


SUPERVISED = {
    "frozen": [figures_of(0.05, 0.6, 0)] * 2,
    "prompts": [figures_of(0.5, 0.55, 10_000), figures_of(0.54, 0.57, 10_000)],
}


def write_study(path: Path, runs: dict[str, Any] | None = None, **fields: Any) -> Path:
    """A study's JSON file."""
    content = {"steps": 450, "seeds": [0, 1], "runs": SUPERVISED if runs is None else runs, "environment": {}}
    path.write_text(json.dumps({**content, **fields}))
    return path
