"""`.pth` files of strangers, from a seed: pickles that would run code, bombs, and weights that lie."""

import pickle
import pickletools
import struct
import zipfile
from collections import OrderedDict
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch
from toy_checkpoint import toy_adapter_on
from toy_vita_clip import LABELS, save_toy_clip

Random = np.random.Generator
HONEST = 25
HUGE = (10**5, 10**8, 2**31, 2**40)


class Call:
    """Unpickled, it calls a function by its name."""

    def __init__(self, module: str, name: str, *arguments: Any):
        self.module, self.name, self.arguments = module, name, arguments

    def __reduce__(self):
        import importlib

        return getattr(importlib.import_module(self.module), self.name), self.arguments


def gadgets(canary: Path) -> list[Any]:
    """Each would make a file, by another way."""
    path, shell = str(canary), f"touch '{canary}'"
    code = f"open({path!r}, 'w').close()"
    return [
        Call("os", "system", shell),
        Call("os", "mkdir", path),
        Call("os", "popen", shell),
        Call("posix", "system", shell),
        Call("subprocess", "call", ["touch", path]),
        Call("subprocess", "Popen", ["touch", path]),
        Call("subprocess", "getoutput", shell),
        Call("builtins", "exec", code),
        Call("builtins", "eval", code),
        Call("builtins", "open", path, "w"),
        Call("pty", "spawn", ["touch", path]),
        Call("runpy", "run_path", path),
        Call("timeit", "timeit", code),
        Call("code", "interact", code),
        Call("shutil", "copy", "/etc/hostname", path),
        Call("torch.utils.cpp_extension", "load", path, path),
        Call("torch.hub", "load", path, "x"),
        Call("numpy", "save", path, 1),
        Call("torch", "load", path),
        Call("torch", "save", 1, path),
        Call("functools", "partial", print, path),
        Call("operator", "attrgetter", "__class__"),
        Call("importlib", "import_module", "antigravity"),
        Call("webbrowser", "open", "http://127.0.0.1:9/"),
        Call("ctypes", "CDLL", path),
    ]


def write_bases(folder: Path) -> list[Path]:
    """A good file, and the CLIP it was trained on."""
    from vita_clip_hf.convert.files import write_original

    folder.mkdir(parents=True, exist_ok=True)
    if not (folder / "good.pth").exists():
        base = save_toy_clip(folder / "base")
        write_original(toy_adapter_on(base, train_cls_projection=False), folder / "good.pth")
    return [folder / "good.pth"]


# ---- files: each writes one, and returns whether only a refusal is right ----


def gadget(path: Path, good: Path, random: Random) -> bool:
    """A pickle that calls something: in a zip of torch, in the old format, bare, or beside good weights."""
    choices = gadgets(path.parent / "canary")
    payload = choices[int(random.integers(0, len(choices)))]
    way, protocol = int(random.integers(0, 4)), int(random.integers(0, 5))
    weights = torch.load(good, weights_only=True)["model"]
    content = [payload, {"model": payload}, {"model": weights, "epoch": payload}, {"model": {**weights, "x": payload}}]
    if way == 0:
        path.write_bytes(pickle.dumps(content[int(random.integers(0, 4))], protocol=protocol))
    elif way == 1:
        torch.save(content[int(random.integers(0, 4))], path, _use_new_zipfile_serialization=False)
    elif way == 2:
        torch.save(content[int(random.integers(0, 4))], path, pickle_protocol=max(protocol, 2))
    else:
        torch.save(content[3], path)
        path.write_bytes(path.read_bytes() + pickle.dumps(payload))
    return True


def bomb(path: Path, good: Path, random: Random) -> bool:
    """A zip whose parts are small packed and huge unpacked."""
    with zipfile.ZipFile(good) as source, zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED, compresslevel=1) as target:
        names = source.namelist()
        chosen = names[int(random.integers(0, len(names)))]
        for name in names:
            with target.open(name, "w", force_zip64=True) as part:
                part.write(source.read(name))
                if name == chosen:
                    for _ in range(192):
                        part.write(bytes(1 << 24))  # 3 GB in all
    return True


def packed(path: Path, good: Path, random: Random) -> bool:
    """The good file, its parts deflated."""
    with zipfile.ZipFile(good) as source, zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as target:
        for name in source.namelist():
            target.writestr(name, source.read(name))
    return False


def stretched(path: Path, good: Path, random: Random) -> bool:
    """A tensor of one number that says it is huge: its stride is 0."""
    content = torch.load(good, weights_only=True)
    name = _name(content["model"], random)
    shape = [1 if side == 0 else side for side in content["model"][name].shape] or [1]
    shape[int(random.integers(0, len(shape)))] = int(random.choice(HUGE))
    content["model"][name] = torch.zeros(1).expand(shape)
    torch.save(content, path)
    return True


def tensor(path: Path, good: Path, random: Random) -> bool:
    """One tensor is missing, of another shape, type or layout, not finite, or no tensor."""
    content = torch.load(good, weights_only=True)
    weights = content["model"]
    name = _name(weights, random)
    old = weights[name]
    ways: list[Callable[[], Any]] = [
        lambda: old.reshape(-1)[:-1],
        lambda: old.reshape(1, *old.shape),
        lambda: torch.full_like(old, float("nan")),
        lambda: torch.full_like(old, float("inf")),
        lambda: old.to(torch.complex64),
        lambda: old.to_sparse() if old.dim() else old[None],
        lambda: torch.quantize_per_tensor(old, 0.1, 0, torch.qint8),
        lambda: old.tolist(),
        lambda: "text",
        lambda: torch.empty(0),
        lambda: torch.empty(old.shape, device="meta"),
    ]
    way = int(random.integers(0, len(ways) + 2))
    if way < len(ways):
        weights[name] = ways[way]()
    elif way == len(ways):
        del weights[name]
    else:
        weights[f"{name}.more"] = weights.pop(name)
    torch.save(content, path)
    # The tensors that follow from others are not read.
    return "prompt_learner.token" not in name and "text_features" not in name


def structure(path: Path, good: Path, random: Random) -> bool:
    """Something else than tensors by name."""
    weights = torch.load(good, weights_only=True)["model"]
    circle: dict[str, Any] = {}
    circle["model"] = circle
    ways: list[Any] = [
        *(
            [],
            {},
            None,
            3,
            "text",
            {"model": []},
            {"model": {}},
            {"model": None},
            {"model": {"model": weights}},
            circle,
        ),
        *({1: torch.ones(1)}, {"model": {None: torch.ones(1)}}, {"model": list(weights.values())}, torch.ones(3)),
        *(
            OrderedDict(a=torch.ones(2, 2)),
            {"state_dict": weights},
            {"model": {f"x{i}": torch.ones(1) for i in range(9)}},
        ),
    ]
    torch.save(ways[int(random.integers(0, len(ways)))], path)
    return True


def damage(path: Path, good: Path, random: Random) -> bool:
    """Cut, of noise, empty, or with flipped bytes."""
    content = bytearray(good.read_bytes())
    way = int(random.integers(0, 5))
    if way == 0:
        content = content[: int(random.integers(0, len(content)))]
    elif way == 1:
        content = bytearray(random.bytes(len(content)))
    elif way == 2:
        for place in random.integers(0, len(content), 50):
            content[place] ^= 0xFF
    elif way == 3:
        content = bytearray(pickle.dumps([0] * 10)[:-1])
    else:
        content[:8] = struct.pack("<Q", 2**62)
    path.write_bytes(content)
    return way != 2


def opcodes(path: Path, good: Path, random: Random) -> bool:
    """A pickle of opcodes in disorder, in torch's zip."""
    torch.save({"model": {"a": torch.ones(1)}}, path)
    with zipfile.ZipFile(path) as source:
        parts = {name: source.read(name) for name in source.namelist()}
    codes = [ord(opcode.code) for opcode in pickletools.opcodes]
    stream = bytes(codes[int(random.integers(0, len(codes)))] for _ in range(200))
    huge = b"\x80\x02" + b"\x8b" + struct.pack("<i", 2**31 - 1) + b"x"
    with zipfile.ZipFile(path, "w") as target:
        for name, content in parts.items():
            target.writestr(
                name, (b"\x80\x02" + stream if random.random() < 0.7 else huge) if "pkl" in name else content
            )
    return True


WAYS: tuple[Callable[[Path, Path, Random], bool], ...] = (
    *(gadget,) * 8,
    *(bomb, packed, stretched, stretched, tensor, tensor, tensor, structure, structure, damage, damage, opcodes),
)


def _name(weights: dict[str, torch.Tensor], random: Random) -> str:
    return sorted(weights)[int(random.integers(0, len(weights)))]


def convert(path: Path, base: Path) -> str:
    """By the function behind `vita-clip convert`."""
    from vita_clip_hf.convert.files import convert_checkpoint

    report = convert_checkpoint(path, str(base), LABELS, path.parent / "converted")
    return str(report).partition("\n")[0]


def input_of(number: int, seed: int, bases: list[Path], folder: Path) -> tuple[Callable[[], str], str, str, bool]:
    """What to call, the name that an error must have, what the input is, and whether only a refusal is right."""
    random = np.random.default_rng([seed, 3, number])
    path = folder / "strange.pth"
    way = WAYS[int(random.integers(0, len(WAYS)))]
    if number % HONEST == 0:
        path.write_bytes(bases[0].read_bytes())
        what, must_refuse = "whole", False
    else:
        what, must_refuse = way.__name__, way(path, bases[0], random)
    return partial(convert, path, bases[0].parent / "base"), path.name, what, must_refuse
