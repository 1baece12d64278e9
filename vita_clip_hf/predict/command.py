"""`vita-clip predict`."""

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

from ..data.views import parse_views
from .inputs import find_labels, find_videos
from .predictor import Predictor, load_predictor
from .results import FORMS, Prediction, check_results_file, format_results, write_results

EPILOG = """examples:
  vita-clip predict --model demo_output/adapter clip.mp4
  vita-clip predict --model demo_output/adapter clip.mp4 --labels "moving left" "moving right" --template "a shape {}"
  vita-clip predict --model my_adapter my_videos "more/**/*.mp4" https://host/clip.mp4 --output results.csv
  vita-clip predict --model openai/clip-vit-base-patch16 my_videos --labels names.txt --batch-size 8 --device cuda

A video that cannot be read is named, the others go on, and the exit code is 1. A run that is interrupted writes what
it has found."""


def add_parser(commands: argparse._SubParsersAction) -> None:
    """Adds the command to those of `vita-clip`."""
    parser = commands.add_parser(
        "predict",
        help="name the action in video files",
        description="Ranks the model's own classes for each video, or the labels that you name (zero-shot).",
        epilog=EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument(
        "videos",
        nargs="*",
        metavar="VIDEO",
        help='a file, a folder (with all videos below it), a pattern in quotes ("clips/*.mp4"), or a URL',
    )
    parser.add_argument(
        "--model", required=True, help="folder or Hub id of Vita-CLIP, Efficient-Prompt, CLIP or X-CLIP"
    )
    parser.add_argument(
        "--labels",
        nargs="+",
        metavar="LABEL",
        help="classes to choose from, or one file of them (.txt: a name on each line; .csv: id,name; .json: a list), "
        "or k400 (default: the model's own)",
    )
    parser.add_argument(
        "--template",
        action="append",
        metavar="TEXT",
        help='around a label, such as "a video of {}."; may repeat (default: the four of zero-shot evaluation; '
        "{} for Efficient-Prompt and X-CLIP)",
    )
    parser.add_argument("--top-k", type=int, default=5, help="labels for each video (default: %(default)s)")
    parser.add_argument(
        "--output",
        type=Path,
        metavar="FILE",
        help="write all results to a .csv, .json or .jsonl, and do not print; csv, json or jsonl alone prints them so",
    )
    parser.add_argument(
        "--views",
        type=parse_views,
        metavar="TxS",
        help="clips x crops of each video, such as 4x3 (default: the model's)",
    )
    parser.add_argument("--batch-size", type=_count, default=1, help="videos at once (default: %(default)s)")
    parser.add_argument("--device", help="such as cpu or cuda:1 (default: the first GPU, else the CPU)")
    parser.set_defaults(run=run)


def run(options: argparse.Namespace) -> None:
    """
    Runs the command with the options of `add_parser`.

    Raises:
        OSError: a video cannot be read; after all others.
        ValueError: an option makes no sense.
    """
    from transformers.utils import logging

    if not sys.stderr.isatty():
        logging.disable_progress_bar()  # of loading
    if not options.videos:
        raise ValueError(
            "No VIDEO is named: give files, folders, patterns or URLs, and before --labels, which takes every word "
            "behind it for a label."
        )
    is_printed_whole = str(options.output) in FORMS
    if options.output is not None and not is_printed_whole:
        check_results_file(options.output)
    labels = None if options.labels is None else _several(find_labels(options.labels))
    inputs = find_videos(options.videos)
    for note in inputs.notes:
        _say(note)
    predictor = load_predictor(
        options.model, labels, options.template, options.top_k, device=options.device, views=options.views
    )
    _say(_classes_of(predictor))
    done: list[Prediction] = []
    try:
        _predict_all(predictor, inputs.videos, options.batch_size, done, is_quiet=options.output is not None)
    finally:
        if is_printed_whole:
            print(format_results(str(options.output), done), end="")
        elif options.output is not None and done:
            write_results(options.output, done)
            _say(f"{len(done)} of {len(inputs.videos)} videos are in {options.output}")
    _refuse_failures(done)


def _several(labels: list[str]) -> list[str]:
    if len(labels) > 1:
        return labels
    raise ValueError(
        f"There is one label, {labels[0]!r}, which every video would get by 100 %: give several, each one word or in "
        "quotes, a file of labels, or k400."
    )


def _predict_all(
    predictor: Predictor, videos: Sequence[str], batch_size: int, done: list[Prediction], is_quiet: bool
) -> None:
    """Appends to `done` what is found in each video, and prints it; on a terminal with a bar, if there are several."""
    from tqdm import tqdm

    hidden = len(videos) == 1 or not sys.stderr.isatty()
    with tqdm(total=len(videos), unit=" videos", disable=hidden) as bar:
        for prediction in predictor.predict_files(videos, batch_size):
            done.append(prediction)
            with bar.external_write_mode(sys.stdout):
                _show(prediction, is_only=len(videos) == 1, is_quiet=is_quiet)
            bar.update()


def _classes_of(predictor: Predictor) -> str:
    """What is chosen from, as one line."""
    if predictor.templates is None:
        return "chooses from the model's own classes, by their learned contexts"
    return f"chooses from {len(predictor.labels)} labels in {', '.join(map(repr, predictor.templates))}"


def _show(prediction: Prediction, is_only: bool, is_quiet: bool) -> None:
    if prediction.error is not None:
        if not is_only:
            _say(prediction.error)
        return
    if is_quiet:
        return
    if not is_only:
        print(_printable(prediction.video))
    for entry in prediction.predictions:
        print(f"{entry['score']:7.2%}  {_printable(entry['label'])}")


def _refuse_failures(done: Sequence[Prediction]) -> None:
    failed = [prediction for prediction in done if prediction.error is not None]
    if len(done) == 1 and failed:
        raise OSError(failed[0].error)
    if failed:
        names = ", ".join(prediction.video for prediction in failed[:5]) + (", ..." if len(failed) > 5 else "")
        raise OSError(f"{len(failed)} of {len(done)} videos could not be read: {names}")


def _say(line: str) -> None:
    print(f"vita-clip predict: {_printable(line)}", file=sys.stderr)


def _printable(text: str) -> str:
    """The text on one line, with escapes for what no terminal shows: ends of lines, bytes that are not UTF-8."""
    return text if text.isprintable() else repr(text)[1:-1]


def _count(text: str) -> int:
    if not text.isdecimal() or int(text) < 1:
        raise argparse.ArgumentTypeError(f"expected a whole number of at least 1, found {text!r}")
    return int(text)


__all__ = ["add_parser", "run"]
