"""`vita-clip demo`: its options, and the call that runs it."""

import argparse
from dataclasses import replace
from pathlib import Path


def add_parser(commands: argparse._SubParsersAction) -> None:
    """Adds the command `demo` to those of `vita-clip`."""
    parser = commands.add_parser(
        "demo",
        help="the whole story on generated videos, offline",
        description="Generates labelled videos of moving shapes, evaluates a frozen tiny CLIP on them, trains "
        "Vita-CLIP's prompts on it, evaluates again, saves the adapter, loads it back and classifies a file. Takes "
        "less than ten minutes on 2 cores. Writes results.json, pictures and the adapter into the output folder; "
        "uses videos that an earlier run wrote there.",
        epilog="examples:\n  vita-clip demo --quick\n  vita-clip demo --long --output runs/long",
    )
    parser.add_argument("--output", type=Path, default=Path("demo_output"), help="folder (default: %(default)s)")
    size = parser.add_mutually_exclusive_group()
    size.add_argument("--quick", action="store_true", help="a minute: all steps on little data, for a first look")
    size.add_argument("--long", action="store_true", help="four times the training: what the method reaches here")
    parser.add_argument("--seed", type=int, default=0, help="of order and first values (default: %(default)s)")
    parser.add_argument("--num-workers", type=int, default=2, help="workers for video files (default: %(default)s)")
    parser.set_defaults(run=run)


def run(options: argparse.Namespace) -> None:
    """Runs the demo with the options of `add_parser`."""
    from .recipe import LONG, QUICK, STANDARD  # imports torch, and the story nearly everything: only if it runs
    from .story import run_demo

    recipe = QUICK if options.quick else LONG if options.long else STANDARD
    run_demo(options.output, replace(recipe, seed=options.seed), options.num_workers)
    print(f"\nMore in {options.output}: results.json, pictures, and the adapter. Try:")
    print(f"  vita-clip predict --model {options.output / 'adapter'} VIDEO")
