"""`vita-clip data check`."""

import argparse
from pathlib import Path


def add_parser(commands: argparse._SubParsersAction) -> None:
    """Adds the command to those of `vita-clip`."""
    parser = commands.add_parser("data", help="look after data sets", description="Commands for data sets of videos.")
    check = parser.add_subparsers(dest="subcommand", required=True, metavar="COMMAND").add_parser(
        "check",
        help="decode every video; report what is wrong and write a list without it",
        description="Decodes every frame of every video that an annotation names, and one again after a jump. Writes "
        "report.json, report.txt and "
        "a cleaned list (cleaned.csv, cleaned.classes.txt) without files that are unreadable, sound only, too short, "
        "mislabelled, no video at all, or give another frame after a jump than in turn.",
        epilog="example: vita-clip data check val.txt --classes labels.csv --root videos --out val_check",
    )
    check.add_argument("list", metavar="LIST", help="an annotation file, or a folder of class folders or splits")
    check.add_argument("--format", default="auto", help="list, kinetics, ssv2, ucf101, hmdb51, folder (default: auto)")
    check.add_argument("--split", help="of what has several, such as train or test1")
    check.add_argument("--root", type=Path, help="folder that video paths start from (default: the list's)")
    check.add_argument("--classes", help="file of class names, or k400 (default: those that come with the list)")
    check.add_argument("--out", type=Path, default=Path("data_check"), help="folder (default: %(default)s)")
    check.add_argument("--num-frames", type=int, default=8, help="fewer are too short (default: %(default)s)")
    check.add_argument(
        "--sampling", default="strided", help="of the training: strided, tsn, uniform (default: %(default)s)"
    )
    check.add_argument(
        "--sampling-stride",
        "--sampling_stride",
        type=int,
        default=16,
        help="of strided sampling; the report says how many videos are too short for it (default: %(default)s)",
    )
    check.add_argument("--num-workers", type=int, help="videos that are decoded at a time (default: one per CPU)")
    check.set_defaults(run=run_check)


def run_check(options: argparse.Namespace) -> None:
    """
    Checks what parsed options name.

    Raises:
        OSError: the list cannot be read, or none of its videos is usable.
    """
    from .check import check_data
    from .loading import read_listing

    listing = read_listing(
        options.list, format=options.format, split=options.split, class_names=options.classes, root=options.root
    )
    report = check_data(
        listing,
        sampling=options.sampling,
        num_frames=options.num_frames,
        sampling_stride=options.sampling_stride,
        num_workers=options.num_workers,
    )
    cleaned = report.save(options.out)
    print(f"{report.summary}. Report: {options.out / 'report.txt'}, cleaned list: {cleaned}")
    if listing.left_out:
        print(listing.left_out_summary)
    if report.stride_fit and report.stride_fit.summary:
        print(f"{report.stride_fit.summary}.")
    if not report.usable:
        raise OSError(f"{options.list}: none of its {report.num_listed} videos is usable; see {options.out}")
