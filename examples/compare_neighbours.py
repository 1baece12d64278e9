"""
Vita-CLIP beside its neighbours under one protocol: figures, differences on the same videos, pictures.

    python examples/compare_neighbours.py CLIP ADAPTER X_CLIP --protocol supervised --videos my_videos --out comparison

A model is whatever `vita-clip train --method ...` saves, any CLIP, or an X-CLIP. The others are measured against the
first. `vita-clip evaluate` and `vita-clip compare` do the same from the command line.
"""

import argparse
from collections.abc import Sequence
from pathlib import Path

from vita_clip_hf.evaluation import Resources, TestData, evaluate
from vita_clip_hf.evaluation.compare import compare_reports


def main(arguments: Sequence[str] | None = None) -> None:
    """Evaluates, writes a report for each model, and compares them."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("models", nargs="+", help="folders or Hub ids, two or more")
    parser.add_argument("--protocol", required=True, help="a name of `vita-clip evaluate --list`, or a YAML file")
    parser.add_argument("--videos", type=Path, required=True, help="folder that paths of videos start from")
    parser.add_argument("--list", help="list, or folder of the data set's own lists (default: class folders)")
    parser.add_argument("--out", type=Path, required=True, help="folder for reports and comparison")
    options = parser.parse_args(arguments)

    data, reports = TestData(options.videos, options.list), []
    with_cache = Resources(cache=options.out / "features")  # a second protocol on the same clips then costs seconds
    for number, model in enumerate(options.models):
        report = evaluate(model, options.protocol, data, with_cache)
        report.save(options.out / f"{number}-{Path(model).name}")
        print(report.as_text(), end="\n\n", flush=True)
        reports.append(report)
    comparison = compare_reports(reports)
    print(comparison.as_markdown())
    comparison.save(options.out)


if __name__ == "__main__":
    main()
