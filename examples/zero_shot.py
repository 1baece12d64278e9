"""
Compares models on classes that none of them was trained on: a folder with a folder of videos for each class.

    python examples/zero_shot.py my_videos my_adapter openai/clip-vit-base-patch16

The first model is the one that the others are measured against.
"""

import sys

from vita_clip_hf.evaluation import Resources, TestData, evaluate, load_protocol
from vita_clip_hf.evaluation.compare import compare_reports


def main(videos: str, *models: str) -> None:
    """
    Args:
        videos: `my_videos/class name/video.mp4`; the names are the texts.
        models: folders or Hub ids.
    """
    # Facts can be changed; the name of the protocol then says so.
    protocol = load_protocol("zero-shot").with_changes({"templates": ["a video of a person {}.", "{}"]})
    reports = [evaluate(model, protocol, TestData(videos), Resources(num_workers=2)) for model in models]
    for report in reports:
        print(report.as_text(), end="\n\n")
    if len(reports) > 1:
        print(compare_reports(reports).as_markdown())


if __name__ == "__main__":
    main(*sys.argv[1:])
