"""
Measures a checkpoint by a named protocol, from Python, and prints what the protocol and the figures are.

    python examples/evaluate.py my_adapter zero-shot-ucf101 data/ucf101/videos data/ucf101/ucfTrainTestlist

`vita-clip evaluate` does the same with more options; under `accelerate launch` it shares the videos out.
"""

import sys
from pathlib import Path

from vita_clip_hf.evaluation import Resources, TestData, evaluate, load_protocol


def main(model: str, protocol: str, videos: str, list_path: str | None = None, out: str = "results") -> None:
    """
    Args:
        model: an adapter, a checkpoint, a CLIP or an X-CLIP: a folder or a Hub id.
        protocol: its name; `vita-clip evaluate --list` explains them.
        videos: the folder that paths start from.
        list_path: a list, or the data set's own annotations; by default `videos` has a folder for each class.
        out: folder of the report.
    """
    print(load_protocol(protocol).describe())
    report = evaluate(model, protocol, TestData(videos, list_path), Resources(num_workers=2))
    for part in report.parts:
        print(part.name, part.num_videos, {name: round(value, 4) for name, value in part.figures.items()})
    print(report.figures)
    print(report.caveats())
    print(report.save(Path(out) / report.protocol["name"]))


if __name__ == "__main__":
    main(*sys.argv[1:])
