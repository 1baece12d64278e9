"""
Hands the library what a stranger might, and writes down what came of it: `PYTHONPATH=tests python -m hostile.drill`.

Every input follows from its kind, its number and the seed. What was tried before is not tried again: the lines in
`--out` add up, over shards and machines too if their files are put together.
"""

import argparse
import fcntl
import json
import os
import shutil
import subprocess
import sys
import tempfile
from collections import Counter
from collections.abc import Callable, Iterable
from contextlib import contextmanager, suppress
from dataclasses import asdict
from pathlib import Path
from typing import Any

from hostile.isolation import GROWTH_MB, SECONDS, attempt
from hostile.page import put_table, rows

COUNTS = {"videos": 3000, "checkpoints": 400, "originals": 100, "urls": 150}
NAMES = {
    "videos": "videos",
    "checkpoints": "checkpoint folders",
    "originals": "`.pth` files",
    "urls": "URLs, playlists",
}
LARGEST_KEPT = 20_000_000  # bytes; some inputs have 64 GB, on paper
FINE = ("read", "refused")
FAULTS = ("crash", "hang", "growth", "execution", "accepted", "traceback", "unclear")
HEADINGS = ("tried", "read", "refused", "crashes", "hangs", "> 1 GB", "executions", "wrongly accepted", "tracebacks")
Inputs = Callable[[int, Path], tuple[Callable[[], str], str, str, bool]]


# ---- inputs ----


@contextmanager
def inputs(kind: str, seed: int, bases: Path, shared: Path | None):
    """A function from number and folder to what to call, the name in its errors, a description, and `must_refuse`."""
    if kind == "videos":
        from hostile import mutants

        with one_at_a_time(bases):
            videos = mutants.write_bases(bases / "videos", shared / "data/videos" if shared else None)
        yield lambda number, folder: (*mutants.input_of(number, seed, videos, folder), False)
    elif kind == "urls":
        from hostile import urls

        server = subprocess.Popen([sys.executable, "-m", "hostile.answers"], stdout=subprocess.PIPE, text=True)
        try:
            address = server.stdout.readline().strip()
            yield lambda number, folder: urls.input_of(number, seed, address, folder)
        finally:
            server.kill()
            server.wait()
    else:
        from hostile import checkpoints, originals

        module = {"checkpoints": checkpoints, "originals": originals}[kind]
        with one_at_a_time(bases):
            made = module.write_bases(bases / kind)
        yield lambda number, folder: module.input_of(number, seed, made, folder)


@contextmanager
def one_at_a_time(folder: Path):
    """Shards share what is damaged: the first writes it, the others wait."""
    folder.mkdir(parents=True, exist_ok=True)
    with open(folder / "lock", "w") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        yield


def run(
    kind: str,
    numbers: Iterable[int],
    seed: int,
    out: Path,
    shared: Path | None,
    shard: str = "0/1",
    seconds: float = SECONDS,
) -> None:
    """Try these inputs, each once, and add a line for each to `out/KIND-SEED-SHARD.jsonl`."""
    done = {record["number"] for record in records(out, kind) if record["seed"] == seed}
    numbers = [number for number in numbers if number not in done]
    if not numbers:
        return
    _import_first(kind)
    lines = out / f"{kind}-{seed}-{shard.replace('/', 'of')}.jsonl"
    with inputs(kind, seed, out / "bases", shared) as make, open(lines, "a") as log:
        twin_mb = _growth_of_twin(make)
        for number in numbers:
            with tempfile.TemporaryDirectory(prefix="drill_") as name:
                folder = Path(name)
                call, mark, what, must_refuse = make(number, folder)
                outcome = asdict(attempt(call, mark, folder, must_refuse, twin_mb, seconds))
                if (folder / "canary").exists():
                    outcome["result"] = "execution"
                _keep(folder, out / "faults" / f"{kind}-{seed}-{number}", outcome["result"])
            outcome["message"] = outcome["message"].replace(name, "")
            outcome["seconds"] = round(outcome["seconds"], 2)
            record = {"kind": kind, "seed": seed, "number": number, "what": what, **outcome}
            log.write(json.dumps(record) + "\n")
            log.flush()
            if record["result"] not in FINE:
                print(f"{kind} {number}: {record['result']}: {what}: {record['message'][:300]!r}", flush=True)


def _growth_of_twin(make: Inputs) -> int:
    """MB that the first input takes, which is an honest one."""
    with tempfile.TemporaryDirectory(prefix="drill_") as name:
        call, mark, what, _ = make(0, Path(name))
        outcome = attempt(call, mark, Path(name))
    if outcome.result != "read":
        raise RuntimeError(f"{what}, which is honest, was not read: {outcome.message}")
    return outcome.growth_mb


def _import_first(kind: str) -> None:
    """What takes seconds to import is imported once: each attempt is a fork."""
    import torch
    from vita_clip_hf.modeling import video_reading_vita_clip  # noqa: F401

    torch.set_num_threads(1)
    if kind in ("checkpoints", "originals"):
        from vita_clip_hf.modeling import pipeline_vita_clip, processing_vita_clip  # noqa: F401

        from vita_clip_hf import predict  # noqa: F401
        from vita_clip_hf.convert import files  # noqa: F401


def _keep(folder: Path, target: Path, result: str) -> None:
    """The input of a fault stays for whoever looks into it, but for files that are large."""
    if result in FINE:
        return

    def is_left_out(path: str, names: list[str]) -> list[str]:
        sizes = {name: (Path(path) / name).lstat().st_size for name in names}
        return [name for name, size in sizes.items() if size > LARGEST_KEPT or name in ("converted", "payload")]

    shutil.rmtree(target, ignore_errors=True)
    with suppress(shutil.Error):  # a link that leads nowhere
        shutil.copytree(folder, target, symlinks=True, ignore=is_left_out)


# ---- table ----


def records(out: Path, kind: str | None = None) -> list[dict[str, Any]]:
    """What was tried so far."""
    lines = [line for path in sorted(out.glob("*.jsonl")) for line in path.read_text().splitlines()]
    found = {(r["kind"], r["seed"], r["number"]): r for r in map(json.loads, lines)}
    return [record for record in found.values() if kind in (None, record["kind"])]


def table(found: list[dict[str, Any]]) -> str:
    """Markdown, a line for each kind of input."""
    lines = []
    for kind in COUNTS:
        of_kind = [record for record in found if record["kind"] == kind]
        if of_kind:
            count = Counter(record["result"] for record in of_kind)
            faults = [count[fault] for fault in FAULTS[:5]]
            cells = [len(of_kind), count["read"], count["refused"], *faults, count["traceback"] + count["unclear"]]
            slowest, growth = (max(record[name] for record in of_kind) for name in ("seconds", "growth_mb"))
            lines.append([NAMES[kind], *map("{:,}".format, cells), f"{slowest:.1f}", f"{growth:,}"])
    return rows(["input", *HEADINGS, "slowest, s", "most memory, MB"], *lines)


# ---- command ----


def main(arguments: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="hostile.drill", description=__doc__.partition("\n\n")[0])
    parser.add_argument("kinds", nargs="*", metavar="KIND", help=f"of {', '.join(COUNTS)} (default: all)")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--count", type=int, help=f"inputs of each kind (default: {COUNTS})")
    parser.add_argument("--shard", default="0/1", help="I/N: every N-th input, from the I-th (default: %(default)s)")
    parser.add_argument("--out", type=Path, default=Path("build/drill"), help="folder (default: %(default)s)")
    parser.add_argument("--shared", type=Path, default=Path("../shared"), help="its data/videos are damaged, too")
    parser.add_argument("--seconds", type=float, default=SECONDS, help="a longer attempt hangs (default: %(default)g)")
    parser.add_argument("--render", type=Path, help="page to put the table into")
    options = parser.parse_args(arguments)
    unknown = set(options.kinds) - set(COUNTS)
    if unknown:
        parser.error(f"{', '.join(sorted(unknown))}: expected {', '.join(COUNTS)}")
    shard, shards = map(int, options.shard.split("/"))
    options.out.mkdir(parents=True, exist_ok=True)
    shared = options.shared if (options.shared / "data/videos").is_dir() else None
    for kind in options.kinds or COUNTS:
        numbers = range(shard, options.count or COUNTS[kind], shards)
        places = (options.out.resolve(), shared and shared.resolve())
        run(kind, numbers, options.seed, *places, options.shard, options.seconds)
    found = records(options.out)
    print(table(found))
    if options.render:
        put_table(options.render, "drill", table(found))
    faults = [record for record in found if record["result"] not in FINE]
    if faults:
        print(f"{len(faults)} faults (limits: {options.seconds:g} s, {GROWTH_MB} MB); inputs in {options.out}/faults")
    return 1 if faults else 0


if __name__ == "__main__":
    # No network, and no thread beside the one that forks.
    os.environ |= {"HF_HUB_OFFLINE": "1", "OMP_NUM_THREADS": "1", "TOKENIZERS_PARALLELISM": "false"}
    sys.exit(main())
