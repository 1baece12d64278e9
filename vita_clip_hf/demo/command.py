"""`vita-clip demo`."""

import argparse
from pathlib import Path


def add_parser(commands: argparse._SubParsersAction) -> None:
    """Adds the command to those of `vita-clip`."""
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
    parser.set_defaults(run=run)


def run(options: argparse.Namespace) -> None:
    """Runs what parsed options ask for."""
    from dataclasses import replace

    from .recipe import ABLATION, LONG, PRECISIONS, QUANTIZED, QUICK, STANDARD, VARIANTS

    if options.ablation:
        from .ablation import run_ablation

        run_ablation(options.output, ABLATION, num_workers=options.num_workers)
        return
    if options.variants:
        from .variants import run_variants

        run_variants(options.output, VARIANTS, num_workers=options.num_workers)
        return
    if options.precisions:
        from .precisions import run_precisions

        run_precisions(options.output, PRECISIONS, num_workers=options.num_workers)
        return
    if options.quantized:
        from .quantized import run_quantized

        run_quantized(options.output, QUANTIZED, num_workers=options.num_workers)
        return
    from .study import run_demo

    recipe = QUICK if options.quick else LONG if options.long else STANDARD
    run_demo(options.output, replace(recipe, seed=options.seed), options.num_workers)
    print(f"\nMore in {options.output}: results.json, pictures, and the adapter. Try:")
    print(f"  vita-clip predict --model {options.output / 'adapter'} VIDEO")
