"""`vita-clip evaluate`, `vita-clip features` and `vita-clip compare`."""

import argparse
import os
import sys
from pathlib import Path
from typing import Any

import yaml

from .data.views import parse_views

DTYPES = ("float32", "bfloat16", "float16")
_LIST_PROTOCOLS = object()  # --list without a value
_DEFAULT_RECIPE = object()  # --train-draws without a value


def add_parsers(commands: argparse._SubParsersAction) -> None:
    """Adds the commands to those of `vita-clip`."""
    _add_evaluate(commands)
    _add_features(commands)
    _add_compare(commands)


def _add_evaluate(commands: argparse._SubParsersAction) -> None:
    parser = commands.add_parser(
        "evaluate",
        help="measure models by a named protocol",
        description="Evaluates models by a protocol: a file of facts (split, frames, views, templates, seeds), which "
        "is printed with every number and stored in its report. Videos are encoded once and kept in a cache.",
        epilog="example: vita-clip evaluate --model my_adapter --protocol zero-shot-ucf101 --videos UCF-101 "
        "--list ucfTrainTestlist --out results",
    )
    parser.add_argument(
        "--model",
        nargs="+",
        default=[],
        metavar="MODEL",
        help="adapter, checkpoint, CLIP or X-CLIP: folder or Hub id; several are compared. For protocols that train: "
        "a pattern such as runs/k{shots} or runs/seed{seed}",
    )
    parser.add_argument("--protocol", help="its name, or a YAML file of one's own")
    parser.add_argument("--dataset", help="name of the data set, for protocols that are for any")
    parser.add_argument("--videos", type=Path, metavar="DIR", help="folder that paths of videos start from")
    parser.add_argument(
        "--list",
        nargs="?",
        const=_LIST_PROTOCOLS,
        metavar="FILE",
        help="list, folder of lists, or the data set's own annotations (default: class folders in --videos); without "
        "a value: explain the protocols",
    )
    parser.add_argument("--list-protocols", action="store_true", help="explain each protocol, and name its traps")
    parser.add_argument("--classes", metavar="FILE", help="class names, or a folder of those that the protocol names")
    parser.add_argument("--split", nargs="+", metavar="NAME", help="only these splits of the protocol")
    parser.add_argument("--proposals", type=Path, metavar="FILE", help="for localisation: JSON of proposals")
    parser.add_argument(
        "--train-draws",
        nargs="?",
        const=_DEFAULT_RECIPE,
        metavar="FILE",
        help="for few-shot episodes: train Efficient-Prompt on each draw, from the frames of the CLIP --model; FILE "
        "is YAML of max_steps, learning_rate, prefix_length and others",
    )
    parser.add_argument(
        "--set",
        action="append",
        default=[],
        metavar="FACT=VALUE",
        help="change a fact of the protocol, such as num_frames=16; the report says so; may repeat",
    )
    parser.add_argument("--out", type=Path, metavar="DIR", help="folder for the report (default: print only)")
    parser.add_argument("--hub-dataset", metavar="ID", help="benchmark on the Hub: writes .eval_results too")
    _add_resources(parser)
    parser.set_defaults(run=run_evaluate)


def _add_features(commands: argparse._SubParsersAction) -> None:
    parser = commands.add_parser(
        "features",
        help="embed videos: features of frames and videos with their times, as npz or parquet",
        description="Embeds every video below a folder, or of a list, and writes one file: names, frame_embeds "
        "(N, V, T, D), video_embeds (N, V, D), times in seconds (N, V, T). The cache is that of `vita-clip evaluate`.",
        epilog="example: vita-clip features my_videos --model my_adapter --out features.npz",
    )
    parser.add_argument("videos", type=Path, metavar="DIR", help="folder of videos, at any depth, or one video")
    parser.add_argument("--model", required=True, help="adapter, checkpoint, CLIP or X-CLIP: folder or Hub id")
    parser.add_argument("--out", type=Path, required=True, metavar="FILE", help="ends with .npz or .parquet")
    parser.add_argument("--num-frames", type=int, help="of a clip (default: the processor's)")
    parser.add_argument("--sampling", choices=("uniform", "strided"), help="of frames (default: the processor's)")
    parser.add_argument("--frame-stride", type=int, help="of strided clips (default: the processor's)")
    parser.add_argument(
        "--views", type=parse_views, default="1x1", metavar="TxS", help="clips x crops (default: %(default)s)"
    )
    _add_resources(parser)
    parser.set_defaults(run=run_features)


def _add_compare(commands: argparse._SubParsersAction) -> None:
    parser = commands.add_parser(
        "compare",
        help="compare reports of evaluations, or the methods of a study: differences, significance, pictures",
        description="Compares two or more reports of `vita-clip evaluate`, the first of which the others are measured "
        "against: differences with paired bootstrap and McNemar's test, classes, confused pairs, frames and views. Or "
        "the rows of a study of examples/studies/: means and deviations over seeds, differences with intervals over "
        "seeds, and what is learned against what is kept.",
        epilog="examples:\n"
        "  vita-clip compare results/clip results/vita --out comparison\n"
        "  vita-clip compare runs/compare_methods/supervised.json --baseline Vita-CLIP",
    )
    parser.add_argument("files", nargs="+", type=Path, metavar="FILE", help="report.json or its folder; or a study")
    parser.add_argument("--baseline", metavar="ROW", help="of a study: measured against (default: the first row)")
    parser.add_argument("--figures", nargs="+", metavar="NAME", help="of a study: those to show (default: all)")
    parser.add_argument("--out", type=Path, metavar="DIR", help="folder for Markdown and pictures (default: print)")
    parser.set_defaults(run=run_compare)


def _add_resources(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--cache", metavar="DIR", help="folder of the feature cache (default: in the Hub's home)")
    parser.add_argument("--batch-size", type=int, default=16, help="clips at once (default: %(default)s)")
    parser.add_argument("--num-workers", type=int, default=2, help="processes that read videos (default: %(default)s)")
    parser.add_argument("--device", help="such as cpu or cuda:1 (default: the first GPU, else the CPU)")
    parser.add_argument("--dtype", choices=DTYPES, default="float32", help="of the weights (default: %(default)s)")
    parser.add_argument("--revision", help="of models on the Hub")


def run_evaluate(options: argparse.Namespace) -> None:
    """
    Evaluates as the parsed options say, prints the figures and writes reports.

    Raises:
        OSError: a model, a list, or every video is not there.
        ValueError: options do not fit together.
    """
    from .evaluation.protocols import load_protocol

    if options.list_protocols or options.list is _LIST_PROTOCOLS:
        print(explain_protocols())
        return
    for name in ("model", "protocol", "videos"):
        if not getattr(options, name):
            raise ValueError(f"--{name} is missing. `vita-clip evaluate --list` explains the protocols.")
    protocol = load_protocol(options.protocol).with_changes(_changes(options.set))
    if not options.videos.is_dir():
        raise FileNotFoundError(f"{options.videos}: no such folder of videos.")

    from .evaluation.evaluate import TestData, evaluate

    data = TestData(
        videos=options.videos,
        list_path=options.list,
        classes=options.classes,
        splits=options.split,
        dataset=options.dataset,
        proposals=options.proposals,
    )
    resources = _resources(options)
    is_main = resources.accelerator is None or resources.accelerator.is_main_process
    folders = _folders(options.out, options.model)
    for folder in (folders or {}).values():  # before hours of work, not after
        if folder.exists() and not folder.is_dir():
            raise NotADirectoryError(f"{folder}: is a file; --out is a folder.")
        folder.mkdir(parents=True, exist_ok=True)
        if not os.access(folder, os.W_OK):
            raise PermissionError(f"{folder}: cannot be written to.")
    try:
        for model in options.model:
            learner = _learner(options, model, protocol, resources)
            report = evaluate(model, protocol, data, resources, ["vita-clip", *sys.argv[1:]], learner)
            if is_main:
                print(report.as_text(), end="\n\n", flush=True)
                if folders is not None:
                    print(f"report: {report.save(folders[model], options.hub_dataset)}\n", flush=True)
    finally:
        _end(resources)
    if is_main and folders is not None and len(folders) > 1:
        print(f"compare them: vita-clip compare {' '.join(map(str, folders.values()))}")


def run_features(options: argparse.Namespace) -> None:
    """
    Embeds videos and writes a file of features.

    Raises:
        OSError: there is no video, or none can be read.
        ValueError: options make no sense.
    """
    from .evaluation.feature_files import FEATURE_FILES, extract_features, find_videos, write_features

    if options.out.suffix not in FEATURE_FILES:
        raise ValueError(f"--out must end with {' or '.join(FEATURE_FILES)}, found {options.out}.")
    resources = _resources(options)
    try:
        features = extract_features(
            options.model,
            find_videos(options.videos),
            resources,
            num_frames=options.num_frames,
            sampling=options.sampling,
            frame_stride=options.frame_stride,
            views=options.views,
        )
        if resources.accelerator is None or resources.accelerator.is_main_process:
            write_features(features, options.out)
            print(f"{len(features.names)} videos, {len(features.unreadable)} not readable: {options.out}")
            for name, reason in features.unreadable.items():
                print(f"vita-clip features: {name}: {reason}", file=sys.stderr)
    finally:
        _end(resources)


def run_compare(options: argparse.Namespace) -> None:
    """
    Compares reports, or the rows of studies.

    Raises:
        OSError: a file is not there.
        ValueError: a file is neither, there is only one report, or they have nothing in common.
    """
    from .evaluation.compare import compare_files

    comparison = compare_files(options.files, options.baseline, options.figures)
    print(comparison.as_markdown())
    if options.out is not None:
        print(f"written: {comparison.save(options.out)}")


def explain_protocols() -> str:
    """The protocols, two lines each, and their traps."""
    from .evaluation.protocols import load_protocol, protocol_names

    blocks = []
    for name in protocol_names():
        protocol = load_protocol(name)
        lines = [f"  {line}" for line in protocol.summary.strip().splitlines()]
        blocks.append("\n".join([name, *lines, *(f"  trap: {trap}" for trap in protocol.traps)]))
    return "\n\n".join(blocks)


def _changes(given: list[str]) -> dict[str, Any]:
    changes = {}
    for entry in given:
        name, separator, value = entry.partition("=")
        if not separator:
            raise ValueError(f"--set {entry}: expected FACT=VALUE, such as num_frames=16.")
        try:
            changes[name.strip()] = yaml.safe_load(value)
        except yaml.YAMLError as error:
            raise ValueError(f"--set {entry}: the value is not YAML.") from error
    return changes


def _learner(options: argparse.Namespace, model: str, protocol: Any, resources: Any) -> Any:
    """What learns each draw of few-shot episodes; `None` if nothing is to be trained."""
    if options.train_draws is None:
        return None
    from .training.draw_learner import EfficientPromptLearner, load_recipe

    if protocol.kind != "episodes":
        raise ValueError(
            f"--train-draws is for protocols with draws, such as five-way-five-shot, not {protocol.name}."
        )
    recipe = load_recipe(None if options.train_draws is _DEFAULT_RECIPE else options.train_draws)
    return EfficientPromptLearner(model, protocol.num_frames, recipe, resources.place, resources.revision)


def _resources(options: argparse.Namespace) -> Any:
    from .evaluation.run import DEFAULT_CACHE, Resources

    accelerator = None
    started = int(os.environ.get("WORLD_SIZE", "1"))
    if started > 1:  # by `accelerate launch`
        import torch
        from accelerate import Accelerator

        accelerator = Accelerator(cpu=options.device == "cpu" or not torch.cuda.is_available())
        if accelerator.num_processes != started:
            raise ValueError(
                f"{started} processes were started, and this one sees {accelerator.num_processes}: each would "
                "evaluate all videos. Without a GPU for each, give --device cpu."
            )
    return Resources(
        cache=options.cache or DEFAULT_CACHE,
        batch_size=options.batch_size,
        num_workers=options.num_workers,
        device=None if accelerator is not None else options.device,
        dtype=options.dtype,
        revision=options.revision,
        accelerator=accelerator,
    )


def _end(resources: Any) -> None:
    if resources.accelerator is not None:
        resources.accelerator.end_training()


def _folders(out: Path | None, models: list[str]) -> dict[str, Path] | None:
    """Where the report of each model goes: `out` itself, or a folder below it for each of several."""
    places = [os.path.realpath(model) if os.path.isdir(model) else model for model in models]
    if len(set(places)) != len(places):
        raise ValueError(f"--model names a model twice: {', '.join(models)}.")
    if out is None or len(models) == 1:
        return None if out is None else {models[0]: out}
    names = [Path(model.rstrip("/")).name for model in models]
    if len(set(names)) != len(names):
        names = [f"{number}-{name}" for number, name in enumerate(names, start=1)]
    return {model: out / name for model, name in zip(models, names, strict=True)}


__all__ = ["add_parsers", "explain_protocols", "run_compare", "run_evaluate", "run_features"]
