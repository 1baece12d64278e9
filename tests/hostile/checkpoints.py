"""Checkpoint folders that lie, from a seed: every number gives one folder, made from a good one."""

import json
import os
import pickle
import shutil
import struct
import sys
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch
from safetensors import safe_open
from safetensors.torch import save_file
from toy_checkpoint import save_toy_checkpoint, toy_processor, write_rising_video

Random = np.random.Generator
ADAPTER, WEIGHTS = "adapter_model.safetensors", "model.safetensors"
HONEST = 25  # every so many the folder is whole
ODD_VALUES: tuple[Any, ...] = (
    *(None, True, [], {}, "", "x", -1, 0, 1, 1.5, 10**6, 2**31, 2**63, 10**30, float("nan"), float("inf")),
    *([1, [2, [3]]], {"a": {"b": 1}}, "../../../../etc/passwd", "9" * 5000, "\0", "line\nbreak", [None] * 3),
)
HUGE = (10**5, 10**7, 10**9, 2**40)
SIZES = ("num_frames", "num_global_prompts", "text_prompt_length", "num_hidden_layers", "hidden_size", "vocab_size")
MORE_SIZES = ("image_size", "patch_size", "projection_dim", "intermediate_size", "max_position_embeddings")
BASES = (
    *(".", "..", "./adapter", "/dev/null", "/dev/zero", "http://127.0.0.1:9/x", "file:///etc/passwd", "no/such-base"),
    *("package://payload/base", "package://antigravity", "package://vita_clip_hf/../../x", "package://os", "~", "\0"),
)


class Payload:
    """Unpickled, it leaves a file behind."""

    def __init__(self, canary: Path):
        self.canary = canary

    def __reduce__(self):
        return os.mkdir, (str(self.canary),)


def write_bases(folder: Path) -> list[Path]:
    """An adapter in float32 and one in int8 with their base, and a full checkpoint; a video to try them on."""
    folder.mkdir(parents=True, exist_ok=True)
    made = []
    for name, options in {"float32": {}, "int8": {"adapter_dtype": "int8"}, "full": {"adapter_only": False}}.items():
        home = folder / name
        if not (home / "done").exists():
            shutil.rmtree(home, ignore_errors=True)
            adapter = save_toy_checkpoint(home)
            if options:
                from vita_clip_hf import VitaClipModel

                model = VitaClipModel.from_pretrained(adapter)
                shutil.rmtree(adapter)
                model.save_pretrained(adapter, **options)
                toy_processor().save_pretrained(adapter)
            config = json.loads((adapter / "config.json").read_text())
            config["base_model_name_or_path"] = str(home / "base")
            (adapter / "config.json").write_text(json.dumps(config))
            (home / "done").touch()
        made.append(home / "adapter")
    if not (folder / "video.mp4").exists():
        write_rising_video(folder / "video.mp4")
    return made


# ---- damage: each changes the folder, and returns whether only a refusal is right ----


def file_damage(folder: Path, random: Random) -> bool:
    """Any file of the folder: missing, empty, cut, of noise, a folder, a link to itself, a device."""
    files = sorted(path for path in folder.iterdir() if path.suffix in (".json", ".safetensors"))
    path = files[int(random.integers(0, len(files)))]
    content = path.read_bytes()
    path.unlink()
    way = int(random.integers(0, 9))
    if way == 1:
        path.touch()
    elif way == 2:
        path.write_bytes(content[: int(random.integers(1, len(content)))])
    elif way == 3:
        path.write_bytes(random.bytes(len(content)))
    elif way == 4:
        path.mkdir()
    elif way == 5:
        path.symlink_to(path.name)
    elif way == 6:
        path.symlink_to("/dev/zero")
    elif way == 7:
        path.write_bytes(content)
        os.truncate(path, 1 << 31)  # 2 GB, none of them on the disk
    elif way == 8:
        path.write_bytes(content[: len(content) // 2] + b"\xff\xfe\0" + content[len(content) // 2 :])
    return path.name in ("config.json", ADAPTER, WEIGHTS, "tokenizer.json")


def json_damage(folder: Path, random: Random) -> bool:
    """A JSON file that is another kind of JSON, or none."""
    path = _json_file(folder, random)
    ways = ("[]", '"text"', "3", "null", "[" * 100_000, "{}", "NaN", '{"a": 1', "\ufeff{}", "{'a': 1}", "9" * 10_000)
    path.write_text(ways[int(random.integers(0, len(ways)))], encoding="utf-8")
    return path.name == "config.json"


def field_damage(folder: Path, random: Random) -> bool:
    """Any field of any JSON file with a value of another kind, or without it."""
    path = _json_file(folder, random)
    content = json.loads(path.read_text())
    places = list(_places(content))
    for _ in range(int(random.integers(1, 3))):
        holder, key = places[int(random.integers(0, len(places)))]
        if random.random() < 0.15 and isinstance(holder, dict):
            holder.pop(key, None)
        else:
            holder[key] = ODD_VALUES[int(random.integers(0, len(ODD_VALUES)))]
    path.write_text(json.dumps(content))
    return False


def size_damage(folder: Path, random: Random) -> bool:
    """A size in the configuration that nothing at hand has."""
    path = folder / "config.json"
    config = json.loads(path.read_text())
    name = str(random.choice([*SIZES, *MORE_SIZES]))
    holders = [part for part in (config, config.get("text_config"), config.get("vision_config")) if part is not None]
    holder = next((part for part in holders if name in part), config)
    holder[name] = int(random.choice(HUGE))
    path.write_text(json.dumps(config))
    return name != "max_position_embeddings"


def processor_damage(folder: Path, random: Random) -> bool:
    """Sizes, counts and sampling of the processor."""
    path = next(path for path in folder.glob("*processor_config.json"))
    content = json.loads(path.read_text())
    settings = content.get("video_processor", content)
    name = str(
        random.choice(["size", "crop_size", "num_frames", "sampling", "frame_stride", "image_mean", "resample"])
    )
    side = int(random.choice([*HUGE, -1, 0]))
    odd: dict[str, Any] = {"size": {"shortest_edge": side}, "crop_size": {"height": side, "width": 16}}
    odd |= {"num_frames": side, "frame_stride": side, "image_mean": ["a"], "resample": 99, "sampling": "never"}
    settings[name] = odd[name]
    path.write_text(json.dumps(content))
    return False


def base_damage(folder: Path, random: Random) -> bool:
    """The name of the base."""
    path = folder / "config.json"
    config = json.loads(path.read_text())
    config["base_model_name_or_path"] = BASES[int(random.integers(0, len(BASES)))]
    path.write_text(json.dumps(config))
    return (folder / ADAPTER).exists()


def cycle(folder: Path, random: Random) -> bool:
    """An adapter on an adapter on the first."""
    other = folder.parent / "other"
    shutil.copytree(folder, other, symlinks=True)
    for path, base in ((folder, other), (other, folder)):
        config = json.loads((path / "config.json").read_text())
        config["base_model_name_or_path"] = str(base)
        (path / "config.json").write_text(json.dumps(config))
    return (folder / ADAPTER).exists()


def tensor_damage(folder: Path, random: Random) -> bool:
    """NaN, infinite, of another shape or type, missing, renamed, or one too many."""
    path = _weights(folder)
    with safe_open(path, "pt") as file:
        tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118 -- not a dict
        metadata = file.metadata()
    name = sorted(tensors)[int(random.integers(0, len(tensors)))]
    tensor = tensors[name]
    way = int(random.integers(0, 9))
    if way in (0, 1) and tensor.is_floating_point():
        tensor = tensor.clone()
        tensor.view(-1)[int(random.integers(0, tensor.numel()))] = (float("nan"), float("inf"))[way]
        tensors[name] = tensor
    elif way == 2:
        tensors[name] = torch.cat([tensor.reshape(-1)] * 2)
    elif way == 3:
        tensors[name] = tensor.to(torch.int64)
    elif way == 4:
        tensors[name] = tensor.to(torch.bool)
    elif way == 5:
        del tensors[name]
    elif way == 6:
        tensors[f"{name}.scale"] = torch.ones(3, 5, 7)
    elif way == 7:
        tensors[f"x.{name}"] = tensors.pop(name)
    else:
        tensors[name] = torch.zeros(0)
    save_file(tensors, path, metadata)
    return way != 6


def scale_damage(folder: Path, random: Random) -> bool:
    """A factor of an int8 tensor whose shape would make the product huge."""
    path = _weights(folder)
    with safe_open(path, "pt") as file:
        tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
        metadata = file.metadata()
    scales = [name for name in sorted(tensors) if name.endswith(".scale")]
    if not scales:
        return tensor_damage(folder, random)
    name = scales[int(random.integers(0, len(scales)))]
    shape = [(100_000, 1, 1, 1), (1, 1, 200_000), (0,), (3, 5, 7)][int(random.integers(0, 4))]
    tensors[name] = torch.ones(shape)
    save_file(tensors, path, metadata)
    return True


def header_damage(folder: Path, random: Random) -> bool:
    """The head of the file of weights lies."""
    path = _weights(folder)
    content = path.read_bytes()
    length = struct.unpack("<Q", content[:8])[0]
    head, body = json.loads(content[8 : 8 + length]), content[8 + length :]
    name = next(name for name in sorted(head) if name != "__metadata__")
    way = int(random.integers(0, 8))
    if way == 0:
        path.write_bytes(struct.pack("<Q", 2**62) + content[8:])
        return True
    if way == 1:
        head[name]["data_offsets"] = [0, 2**50]
    elif way == 2:
        head[name]["shape"] = [2**31, 2**31]
    elif way == 3:
        head[name]["dtype"] = "Q99"
    elif way == 4:
        head[name] = []
    elif way == 5:
        head["__metadata__"] = {"format": 3}
    elif way == 6:
        head["__metadata__"] = dict.fromkeys(head.get("__metadata__", {}), "0" * 64)
    else:
        head.pop("__metadata__", None)
    packed = json.dumps(head).encode()
    path.write_bytes(struct.pack("<Q", len(packed)) + packed + body)
    return way < 6


def code_damage(folder: Path, random: Random) -> bool:
    """Names of code, which without `trust_remote_code` must not run, and pickles in place of weights."""
    code = f"import pathlib\npathlib.Path({str(_canary(folder))!r}).mkdir(exist_ok=True)\n"
    (folder / "evil.py").write_text(code)
    for name in ("config.json", "tokenizer_config.json", "processor_config.json"):
        path = folder / name
        if not path.exists() or random.random() < 0.4:
            continue
        content = json.loads(path.read_text())
        classes = ("AutoConfig", "AutoModel", "AutoProcessor", "AutoTokenizer", "AutoVideoProcessor")
        content["auto_map"] = dict.fromkeys(classes, "evil.Evil")
        if random.random() < 0.5:
            content["tokenizer_class" if "tokenizer" in name else "processor_class"] = "Evil"
        path.write_text(json.dumps(content))
    if random.random() < 0.5:
        weights = _weights(folder)
        weights.unlink()
        pickled = pickle.dumps({"model": Payload(_canary(folder))})
        for name in ("pytorch_model.bin", "adapter_model.bin"):
            (folder / name).write_bytes(pickled)
        return True
    return False


DAMAGE: tuple[Callable[[Path, Random], bool], ...] = (
    *(file_damage, file_damage, file_damage, json_damage, json_damage, field_damage, field_damage, field_damage),
    *(size_damage, size_damage, processor_damage, base_damage, cycle, tensor_damage, tensor_damage, tensor_damage),
    *(scale_damage, header_damage, header_damage, code_damage),
)


def _json_file(folder: Path, random: Random) -> Path:
    files = sorted(folder.glob("*.json"))
    # Half of the damage goes to the configuration.
    return folder / "config.json" if random.random() < 0.5 else files[int(random.integers(0, len(files)))]


def _places(content: Any) -> Iterator[tuple[Any, Any]]:
    """Every place that holds a value; of long lists and tables, the first."""
    keys = list(content if isinstance(content, dict) else range(len(content)))[:60]
    for key in keys:
        yield content, key
        if isinstance(content[key], (dict, list)):
            yield from _places(content[key])


def _weights(folder: Path) -> Path:
    return next(folder / name for name in (ADAPTER, WEIGHTS) if (folder / name).exists())


def _canary(folder: Path) -> Path:
    return folder.parent / "canary"


def write_payload(folder: Path) -> None:
    """A package in the current folder, which no checkpoint may import."""
    package = folder / "payload"
    (package / "base").mkdir(parents=True)
    (package / "__init__.py").write_text(f"import os\nos.mkdir({str(folder / 'canary')!r})\n")


def write_liar(number: int, seed: int, bases: list[Path], folder: Path) -> tuple[Path, str, bool]:
    """Folder, what was done to it, and whether only a refusal is right."""
    random = np.random.default_rng([seed, 2, number])
    base = bases[int(random.integers(0, len(bases)))]
    target = folder / "checkpoint"
    shutil.copytree(base, target)
    write_payload(folder)
    if number % HONEST == 0:
        return target, f"whole {base.parent.name}", False
    damage = DAMAGE[int(random.integers(0, len(DAMAGE)))]
    return target, f"{damage.__name__} of {base.parent.name}", damage(target, random)


# ---- loading ----


def load(folder: Path, video: Path, by_command: bool) -> str:
    """Scores of one video, by Python or by the command's own function."""
    if by_command:
        from vita_clip_hf.cli import main

        code = main(["predict", "--model", str(folder), str(video)])
        if code == 0:
            return "exit 0"
        raise ValueError(_error_of_command() if code == 1 else f"exit {code}")
    from vita_clip_hf.predict import load_predictor

    scores = {entry["label"]: entry["score"] for entry in load_predictor(folder, top_k=None)(str(video))}
    if not all(np.isfinite(score) for score in scores.values()):
        raise AssertionError(f"the scores are {scores}")
    return ", ".join(f"{label} {score:.4f}" for label, score in sorted(scores.items()))


def _error_of_command() -> str:
    sys.stderr.flush()
    printed = Path("printed.txt").read_text(errors="replace")
    if "Traceback (most recent call last)" in printed:
        raise AssertionError("the command printed a traceback")
    return printed[printed.rindex("vita-clip predict:") :]


def input_of(number: int, seed: int, bases: list[Path], folder: Path) -> tuple[Callable[[], str], str, str, bool]:
    """What to call, the name that an error must have, what the input is, and whether only a refusal is right."""
    target, what, must_refuse = write_liar(number, seed, bases, folder)
    by_command = number % 5 == 4
    call = partial(load, target, bases[0].parents[1] / "video.mp4", by_command)
    # The base, too, may be what is wrong.
    return call, str(target.parent), f"{what}{' by command' if by_command else ''}", must_refuse
