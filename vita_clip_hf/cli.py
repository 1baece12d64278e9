"""`vita-clip ...`, also `python -m vita_clip_hf.cli`: parses, calls one function, prints what it returns."""

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

from .benchmark import add_parser as add_benchmark


def main(arguments: Sequence[str] | None = None) -> int:
    """Runs one command. Returns the exit code: 0, or 1 after an error that the user can mend."""
    arguments = list(sys.argv[1:] if arguments is None else arguments)
    if arguments[:1] == ["train"]:  # it has transformers' parser of its own
        from .training.command import main as train

        return train(arguments[1:], prog="vita-clip train")
    options = build_parser().parse_args(arguments)
    try:
        options.run(options)
    except (OSError, ValueError, ImportError) as error:
        print(f"vita-clip {options.command}: {error}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        print(f"vita-clip {options.command}: interrupted", file=sys.stderr)
        return 130
    return 0


def build_parser() -> argparse.ArgumentParser:
    """The parser of all commands."""
    parser = argparse.ArgumentParser(
        prog="vita-clip", description="A frozen CLIP that reads videos, by prompts alone."
    )
    commands = parser.add_subparsers(dest="command", required=True, metavar="COMMAND")
    _add_demo(commands)
    commands.add_parser("train", help="train prompts on your videos, on one device or many", add_help=False)
    _add_predict(commands)
    _add_convert(commands)
    _add_data(commands)
    add_benchmark(commands)
    return parser


def _add_demo(commands: argparse._SubParsersAction) -> None:
    parser = commands.add_parser(
        "demo",
        help="the whole story on generated videos, offline",
        description="Generates labelled videos of moving shapes, shows what a frozen tiny CLIP makes of them, trains "
        "Vita-CLIP's prompts on it, evaluates, saves the adapter, loads it back and classifies a file. Under ten "
        "minutes on 2 cores. Writes results.json, pictures and the adapter into the output folder; videos written "
        "before are used again.",
        epilog="examples: vita-clip demo --quick        vita-clip demo --ablation --output runs/ablation",
    )
    parser.add_argument("--output", type=Path, default=Path("demo_output"), help="folder (default: %(default)s)")
    size = parser.add_mutually_exclusive_group()
    size.add_argument("--quick", action="store_true", help="a minute: all steps on little data, for a first look")
    size.add_argument("--long", action="store_true", help="without the time limit: what the method reaches here")
    size.add_argument("--ablation", action="store_true", help="train the paper's ablation rows over 3 seeds instead")
    size.add_argument("--variants", action="store_true", help="adapters of every size, and what smallness costs")
    size.add_argument("--precisions", action="store_true", help="loss curves in float32 and in bfloat16, side by side")
    size.add_argument("--quantized", action="store_true", help="a frozen CLIP in int8 and fp8, and what it costs")
    parser.add_argument("--seed", type=int, default=0, help="of order and first values (default: %(default)s)")
    parser.add_argument("--num-workers", type=int, default=2, help="processes for video files (default: %(default)s)")
    parser.set_defaults(run=_run_demo)


def _run_demo(options: argparse.Namespace) -> None:
    from dataclasses import replace

    from .demo.recipe import ABLATION, LONG, PRECISIONS, QUANTIZED, QUICK, STANDARD, VARIANTS

    if options.ablation:
        from .demo.ablation import run_ablation

        run_ablation(options.output, ABLATION, num_workers=options.num_workers)
        return
    if options.variants:
        from .demo.variants import run_variants

        run_variants(options.output, VARIANTS, num_workers=options.num_workers)
        return
    if options.precisions:
        from .demo.precisions import run_precisions

        run_precisions(options.output, PRECISIONS, num_workers=options.num_workers)
        return
    if options.quantized:
        from .demo.quantized import run_quantized

        run_quantized(options.output, QUANTIZED, num_workers=options.num_workers)
        return
    from .demo.study import run_demo

    recipe = QUICK if options.quick else LONG if options.long else STANDARD
    run_demo(options.output, replace(recipe, seed=options.seed), options.num_workers)
    print(f"\nMore in {options.output}: results.json, pictures, and the adapter. Try:")
    print(f"  vita-clip predict --model {options.output / 'adapter'} VIDEO")


def _add_predict(commands: argparse._SubParsersAction) -> None:
    parser = commands.add_parser(
        "predict",
        help="name the action in video files",
        description="Ranks the model's own classes for each video, or the labels that you name (zero-shot).",
        epilog='example: vita-clip predict --model demo_output/adapter clip.mp4 --labels "moving left" "moving right"',
    )
    parser.add_argument("videos", nargs="+", metavar="VIDEO", help="file or URL")
    parser.add_argument("--model", required=True, help="adapter or full checkpoint: a folder or a Hub id")
    parser.add_argument("--labels", nargs="+", metavar="LABEL", help="classes to choose from (default: its own)")
    parser.add_argument(
        "--template",
        action="append",
        metavar="TEXT",
        help='around a label, such as "a video of {}."; may repeat',
    )
    parser.add_argument("--top-k", type=int, default=5, help="classes to print (default: %(default)s)")
    parser.set_defaults(run=_run_predict)


def _run_predict(options: argparse.Namespace) -> None:
    from .predict import load_predictor

    predict = load_predictor(options.model, labels=options.labels, templates=options.template, top_k=options.top_k)
    failures = []
    for video in options.videos:
        if len(options.videos) > 1:
            print(video)
        try:
            for entry in predict(video):
                print(f"{entry['score']:7.2%}  {entry['label']}")
        except (OSError, ValueError) as error:
            if len(options.videos) == 1:
                raise
            print(f"vita-clip predict: {error}", file=sys.stderr)
            failures.append(video)
    if failures:
        raise OSError(f"{len(failures)} of {len(options.videos)} videos could not be read: {', '.join(failures)}")


def _add_convert(commands: argparse._SubParsersAction) -> None:
    parser = commands.add_parser(
        "convert",
        help="the authors' checkpoints to this package's format, and back",
        description="Reads a released checkpoint (.pth; tensors only, nothing in it is executed) and writes an "
        "adapter where its backbone is the base's, a full checkpoint where it is not. With --to-original the other "
        "way.",
        epilog="examples: vita-clip convert k400.pth --base openai/clip-vit-base-patch16 --labels k400 --out k400    "
        "vita-clip convert --to-original k400 --out back.pth",
    )
    parser.add_argument("original", help="the .pth file; with --to-original a folder or Hub id")
    parser.add_argument("--to-original", action="store_true", help="write a .pth in the authors' layout instead")
    parser.add_argument("--base", default="openai/clip-vit-base-patch16", help="CLIP (default: %(default)s)")
    parser.add_argument("--labels", default="k400", help="k400, or a file of class names (default: %(default)s)")
    parser.add_argument(
        "--text-prompt-position",
        choices=("end", "front", "middle"),
        default="end",
        help="where the class name stands; the file does not say (default: %(default)s)",
    )
    parser.add_argument("--out", type=Path, required=True, help="folder, or file with --to-original")
    parser.set_defaults(run=_run_convert)


def _run_convert(options: argparse.Namespace) -> None:
    from .modeling.modeling_vita_clip import VitaClipModel
    from .original_checkpoints import convert_checkpoint, write_original

    if options.to_original:
        print(f"written to {write_original(VitaClipModel.from_pretrained(options.original), options.out)}")
        return
    position = options.text_prompt_position
    print(convert_checkpoint(options.original, options.base, options.labels, options.out, position))


def _add_data(commands: argparse._SubParsersAction) -> None:
    parser = commands.add_parser("data", help="look after data sets", description="Commands for data sets of videos.")
    check = parser.add_subparsers(dest="subcommand", required=True, metavar="COMMAND").add_parser(
        "check",
        help="decode every video; report what is wrong and write a list without it",
        description="Decodes every frame of every video that an annotation names. Writes report.json, report.txt and "
        "a cleaned list (cleaned.csv, cleaned.classes.txt) without files that are unreadable, sound only, too short, "
        "mislabelled, or no video at all.",
        epilog="example: vita-clip data check val.txt --classes labels.csv --root videos --out val_check",
    )
    check.add_argument("list", metavar="LIST", help="an annotation file, or a folder of class folders or splits")
    check.add_argument("--format", default="auto", help="list, kinetics, ssv2, ucf101, hmdb51, folder (default: auto)")
    check.add_argument("--split", help="of what has several, such as train or test1")
    check.add_argument("--root", type=Path, help="folder that video paths start from (default: the list's)")
    check.add_argument("--classes", help="file of class names, or k400 (default: those that come with the list)")
    check.add_argument("--out", type=Path, default=Path("data_check"), help="folder (default: %(default)s)")
    check.add_argument("--num-frames", type=int, default=8, help="fewer are too short (default: %(default)s)")
    check.add_argument("--num-workers", type=int, help="processes (default: one per CPU)")
    check.set_defaults(run=_run_data_check)


def _run_data_check(options: argparse.Namespace) -> None:
    from .data.check import check_data
    from .data.loading import read_listing

    listing = read_listing(
        options.list, format=options.format, split=options.split, class_names=options.classes, root=options.root
    )
    report = check_data(listing, num_frames=options.num_frames, num_workers=options.num_workers)
    cleaned = report.save(options.out)
    print(f"{report.summary}. Report: {options.out / 'report.txt'}, cleaned list: {cleaned}")
    if not report.usable:
        raise OSError(f"{options.list}: none of its {report.num_listed} videos is usable; see {options.out}")


if __name__ == "__main__":
    sys.exit(main())
