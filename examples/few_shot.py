"""
Trains on K videos of each class and tests on all test videos, for several K and seeds; then the figures of all.

    python examples/few_shot.py few_shot.yaml --train data/train --test data/test --out runs/few_shot --shots 2 4

With --base-to-novel it draws from the more frequent half of the classes, 16 videos of each and 3 seeds by default, and
tests on both halves. With --five-way each of 200 draws takes 5 classes of the list to test on, trains on 5 videos of
each and tests on their others; --test may be the folder of Efficient-Prompt's published draws.

`few_shot.yaml` has the settings of `vita-clip train`, such as examples/configs/few_shot.yaml without its `validation`;
what the draw decides (train, output_dir, class_names) is set here. A run that is there already is not trained again,
and one that was stopped goes on from its last checkpoint.
"""

import argparse
import sys
from itertools import product
from pathlib import Path

from datasets import Dataset

from vita_clip_hf.data import load_videos
from vita_clip_hf.data.splits import base_and_novel_classes, draw_shots, select_classes, write_list
from vita_clip_hf.evaluation import Protocol, Resources, TestData, evaluate, load_protocol
from vita_clip_hf.evaluation.learned_draws import draws_of, episode_seed
from vita_clip_hf.evaluation.test_sets import load_test_sets
from vita_clip_hf.training.command import parse
from vita_clip_hf.training.run import run_training


def main(arguments: list[str] | None = None) -> None:
    """Draws, trains what is not trained yet, and evaluates."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("settings", help="YAML file of `vita-clip train`")
    parser.add_argument("--train", help="list or folder to draw from; not with --five-way")
    parser.add_argument("--train-split", help="of it, such as train1")
    parser.add_argument("--test", type=Path, required=True, help="list or folder to test on")
    parser.add_argument("--videos", type=Path, help="folder that paths of lists start from (default: the list's)")
    parser.add_argument("--out", type=Path, required=True, help="folder for draws, models and the report")
    kind = parser.add_mutually_exclusive_group()
    kind.add_argument("--base-to-novel", action="store_true", help="train on half of the classes, test on both")
    kind.add_argument("--five-way", action="store_true", help="train and test on draws of five classes")
    parser.add_argument("--draws", type=int, default=200, help="of --five-way (default: %(default)s)")
    parser.add_argument("--shots", type=int, nargs="+", help="default: 2 4 8 16, with --base-to-novel 16")
    parser.add_argument("--seeds", type=int, nargs="+", help="default: 1, with --base-to-novel 1 2 3")
    parser.add_argument("--cache", help="folder of the feature cache")
    options, others = parser.parse_known_args(arguments)
    if (options.train is None) != options.five_way:
        parser.error("--train is what is drawn from, unless by --five-way, which draws from --test")

    protocol, model, classes = (train_episodes if options.five_way else train_shots)(options, others)
    data = TestData(videos_of(options), options.test, classes)
    resources = Resources(num_workers=2, **({"cache": options.cache} if options.cache else {}))
    report = evaluate(options.out / model, protocol, data, resources)
    print(report.as_text())
    print(report.save(options.out / "report"))


def videos_of(options: argparse.Namespace) -> Path:
    """The folder that paths start from."""
    return options.videos or (options.test if options.test.is_dir() else options.test.parent)


def train_shots(options: argparse.Namespace, others: list[str]) -> tuple[Protocol, str, Path | None]:
    """A model for each number of shots and seed: the protocol, the models' pattern, and files of classes."""
    protocol = load_protocol("base-to-novel" if options.base_to_novel else "few-shot")
    shots, seeds = options.shots or list(protocol.shots), options.seeds or list(protocol.seeds)
    videos, classes = load_videos(options.train, split=options.train_split, root=options.videos), None
    changes = {"shots": shots, "seeds": seeds}
    if options.base_to_novel:
        videos, classes = base_half(videos, options.out / "classes")
        changes["splits"] = [
            {**split, "lists": [], "classes": f"{split['name']}.txt"} for split in protocol.to_dict()["splits"]
        ]
    for number, seed in product(shots, seeds):
        folder = options.out / f"k{number}_seed{seed}"
        train_once(draw_shots(videos, number, seed), folder, options.settings, seed, others)
    return protocol.with_changes(changes), "k{shots}_seed{seed}", classes


def train_episodes(options: argparse.Namespace, others: list[str]) -> tuple[Protocol, str, None]:
    """A model for each draw of five classes, from the list that it is tested on."""
    protocol = load_protocol("five-way-five-shot")
    if options.draws != protocol.num_draws:
        protocol = protocol.with_changes({"num_draws": options.draws})
    test_set = load_test_sets(protocol, videos_of(options), options.test)[0]
    for draw in draws_of(test_set, protocol):
        drawn = select_classes(test_set.rows.select(draw.train), draw.classes)
        folder, seed = options.out / f"draw{draw.number}", episode_seed(protocol, draw.number)
        train_once(drawn, folder, options.settings, seed, others)
    return protocol, "draw{draw}", None


def base_half(videos: Dataset, folder: Path) -> tuple[Dataset, Path]:
    """The videos of the base classes, and a folder of both halves' class names, `base.txt` and `novel.txt`."""
    names = videos.features["label"].names
    halves = dict(zip(("base", "novel"), base_and_novel_classes(videos), strict=True))
    folder.mkdir(parents=True, exist_ok=True)
    for name, labels in halves.items():
        (folder / f"{name}.txt").write_text("".join(f"{names[label]}\n" for label in labels), encoding="utf-8")
    return select_classes(videos, halves["base"]), folder


def train_once(draw: Dataset, folder: Path, settings: str, seed: int, others: list[str]) -> None:
    """Trains on the drawn videos into a folder, unless that is done."""
    if (folder / "adapter_model.safetensors").is_file():
        print(f"{folder} is trained already.")
        return
    drawn = folder.parent / "draws" / f"{folder.name}.csv"
    write_list(draw, drawn)
    given = ["--train", str(drawn), "--class_names", str(drawn.with_suffix(".classes.txt"))]
    given += ["--output_dir", str(folder), "--seed", str(seed), "--resume_from_checkpoint", "auto"]
    run_training(*parse([settings, *others, *given], "few_shot.py"))


if __name__ == "__main__":
    main(sys.argv[1:])
