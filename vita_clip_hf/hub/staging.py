"""Exactly what is going to be published, as a folder: a checkpoint, its code, its card, and what serves it."""

import json
import logging
import os
import shutil
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from importlib.resources import files
from pathlib import Path
from typing import Any

from huggingface_hub import EvalResult

from ..modeling.adapter_file_vita_clip import ADAPTER_FILE, opened, read_adapter
from ..modeling.remote_code_vita_clip import CODE_PATTERNS, copy_code
from ..text_files import read_text
from .cards import PROCESSOR_FILE, WEIGHT_PATTERNS, format_size
from .example import Example, stage_example
from .methods import read_config
from .privacy import SECRET_NAMES
from .reports import EVAL_RESULTS, FOLDER, find_reports, stage_reports

logger = logging.getLogger(__name__)

CARD_FILE, CONFIG_FILE = "README.md", "config.json"
TRAINER_STATE, TRAINING_LOG = "trainer_state.json", "training_log.json"
PROCESSOR_FILES = (PROCESSOR_FILE, "preprocessor_config.json", "video_preprocessor_config.json")
PROCESSOR_PATTERNS = (
    *PROCESSOR_FILES,
    *("tokenizer.json", "tokenizer_config.json", "special_tokens_map.json", "added_tokens.json"),
    *("vocab.json", "merges.txt"),
)
TRAINING_CURVE = "training_curve.png"
PICTURES = (TRAINING_CURVE, "confusion_matrix.png", "film_strip.png", "ablation.png")
SERVING_FILES = ("handler.py", "server.py", "requirements.txt", "Dockerfile")
# A file that has this in it is written anew at each push; without it, it is its author's and left alone.
FILE_IS_GENERATED = "Part of vita-clip-hf. Remove this line to keep your changes to this file."
_TAKEN = (CONFIG_FILE, *WEIGHT_PATTERNS, *PROCESSOR_PATTERNS, *PICTURES)
_CODE = tuple(pattern for patterns in CODE_PATTERNS.values() for pattern in patterns)


@dataclass(frozen=True)
class Additions:
    """
    What is published beside a checkpoint's own files.

    Args:
        base: in place of the base's name in the checkpoint; a Hub id.
        base_revision: the base's commit, branch or tag.
        example: a short clip that shows what the model does.
        reports: folders that `vita-clip evaluate --out` wrote, beside those in the checkpoint's `evaluation/`.
    """

    base: str | None = None
    base_revision: str | None = None
    example: str | os.PathLike | None = None
    reports: Sequence[str | os.PathLike] = ()


@dataclass
class Staged:
    """
    Attributes:
        folder: holds what is going to be published, and nothing else.
        left_behind: of the checkpoint's folder, what is not published, and why.
        example: the clip and what the model says of it.
        results: figures of the reports.
        training: names and values of the training, from the trainer's own record.
        speed: what that record has measured.
    """

    folder: Path
    left_behind: dict[str, str] = field(default_factory=dict)
    example: Example | None = None
    results: list[EvalResult] = field(default_factory=list)
    training: dict[str, Any] = field(default_factory=dict)
    speed: dict[str, str] = field(default_factory=dict)

    def sizes(self) -> dict[str, int]:
        """Bytes of each file, by its path in the repository."""
        paths = sorted(path for path in self.folder.rglob("*") if path.is_file())
        return {path.relative_to(self.folder).as_posix(): path.stat().st_size for path in paths}

    def as_text(self) -> str:
        """Each file with its size, their sum, and what stays behind."""
        sizes = self.sizes()
        lines = [f"{format_size(size):>12}  {name}" for name, size in sizes.items()]
        lines.append(f"{format_size(sum(sizes.values())):>12}  in {len(sizes)} files")
        lines += [f"   not published: {name} ({why})" for name, why in self.left_behind.items()]
        return "\n".join(lines)


@contextmanager
def staged(source: str | os.PathLike, additions: Additions | None = None) -> Iterator[Staged]:
    """
    Everything but the card, in a temporary folder.

    Args:
        source: a folder that a model was saved into, and its processor; it is not changed.
        additions: what else is published.

    Raises:
        OSError: the folder holds no checkpoint, or a file of `additions` cannot be read.
        ValueError: a file is damaged.
    """
    source, additions = Path(source), additions or Additions()
    if not (source / CONFIG_FILE).is_file():
        raise OSError(f"{source}: has no config.json; expected a folder that a model was saved into.")
    # Here, whose errors name this folder, and not the temporary one.
    read_config(source)
    _check_weights(source)
    if additions.base is None and additions.base_revision is None:
        config_fields: dict[str, Any] = {}
    else:
        config_fields = {"base_model_name_or_path": additions.base, "base_model_revision": additions.base_revision}
        if not (source / ADAPTER_FILE).is_file():
            raise ValueError(
                f"{source}: is a full checkpoint, which loads no base: give no base and no base revision."
            )
    with tempfile.TemporaryDirectory(prefix="vita-clip-publish-") as folder:
        target = Staged(Path(folder))
        _stage_checkpoint(source, target)
        _change_config(target.folder / CONFIG_FILE, config_fields)
        config = read_config(target.folder)
        copy_code(target.folder, config.model_type)
        _stage_serving_files(source, target.folder, config.base_model_name_or_path)
        state = _trainer_state(source)
        if state["log_history"]:
            (target.folder / TRAINING_LOG).write_text(
                json.dumps(state["log_history"], indent=1) + "\n", encoding="utf-8"
            )
            target.training, target.speed = _training(state), _speed(state["log_history"])
            _stage_training_curve(state["log_history"], target.folder / TRAINING_CURVE)
        reports = [Path(report) for report in additions.reports]
        target.results = stage_reports([*find_reports(source), *reports], source, target.folder)
        if additions.example is not None:
            target.example = stage_example(additions.example, source, target.folder)
        yield target


def _check_weights(source: Path) -> None:
    """Raises `OSError` or `ValueError` if there are none, or a file of them is damaged."""
    weights = [path for pattern in WEIGHT_PATTERNS for path in source.glob(pattern) if path.suffix == ".safetensors"]
    if not any(path.is_file() for path in weights):
        raise OSError(f"{source}: has no weights; expected a folder that a model was saved into.")
    for path in weights:
        if path.name == ADAPTER_FILE:
            read_adapter(path)
            continue
        with opened(path):
            pass


def _stage_checkpoint(source: Path, target: Staged) -> None:
    for path in sorted(source.iterdir()):
        if path.is_file() and any(path.match(pattern) for pattern in _TAKEN):
            _copy(path, target.folder / path.name)
        elif path.is_dir():
            if path.name not in (FOLDER, EVAL_RESULTS):
                target.left_behind[f"{path.name}/"] = "a folder that is no part of a checkpoint"
        elif SECRET_NAMES.fullmatch(path.name):
            target.left_behind[path.name] = "may hold a secret"
        elif path.name == TRAINER_STATE:
            target.left_behind[path.name] = f"its figures are in {TRAINING_LOG}"
        elif not _is_written_anew(path):
            target.left_behind[path.name] = "no part of a checkpoint"


def _is_written_anew(path: Path) -> bool:
    return path.name in (CARD_FILE, *SERVING_FILES) or any(path.match(pattern) for pattern in _CODE)


def _copy(source: Path, target: Path) -> None:
    """Without a second copy on the disk where that is possible: whole checkpoints are large."""
    try:
        os.link(source.resolve(), target)
    except OSError:
        shutil.copyfile(source, target)


def _change_config(path: Path, fields: dict[str, Any]) -> None:
    changes = {name: value for name, value in fields.items() if value is not None}
    if not changes:
        return
    content = json.loads(path.read_text(encoding="utf-8")) | changes
    path.unlink()  # it may be a link to the checkpoint's own
    path.write_text(json.dumps(content, indent=2, ensure_ascii=False) + "\n", encoding="utf-8")


def _stage_serving_files(source: Path, target: Path, base: str | None) -> None:
    """The package's, or those of the checkpoint's folder that its author has changed."""
    from .cards import package_of_base

    for name in SERVING_FILES:
        own = source / name
        if own.is_file() and FILE_IS_GENERATED not in (text := read_text(own)):
            (target / name).write_text(text, encoding="utf-8")
            continue
        text = files("vita_clip_hf.hub_cards").joinpath(name).read_text(encoding="utf-8")
        package = package_of_base(base)
        if name == "requirements.txt" and package is not None:
            text += f"{package}\n"
        (target / name).write_text(text, encoding="utf-8")


def _trainer_state(source: Path) -> dict[str, Any]:
    """The trainer's record, with a list of figures in `log_history` that is empty if there is none."""
    path = source / TRAINER_STATE
    try:
        state = json.loads(path.read_text(encoding="utf-8")) if path.is_file() else {}
        history = [dict(entry) for entry in state.get("log_history", ())]
        for entry in history:
            entry["step"] + 0
            for name in ("loss", *(name for name in entry if name.startswith("eval_"))):
                entry.get(name, 0) + 0
        return {**state, "log_history": history}
    except (ValueError, AttributeError, TypeError, KeyError, RecursionError) as error:
        raise ValueError(f"{path}: is no state of a trainer ({error!r}); mend or remove it.") from error


def _training(state: dict[str, Any]) -> dict[str, Any]:
    """A summary of a training, without the settings of the machine that it ran on."""
    names = {"steps": "global_step", "epochs": "epoch", "clips in a batch": "train_batch_size"}
    summary = {name: state.get(key) for name, key in names.items()}
    evaluations = [entry for entry in state["log_history"] if "eval_loss" in entry]
    for name, value in (evaluations or [{}])[-1].items():
        if name.startswith("eval_") and not name.endswith(("_runtime", "_per_second")):
            summary[f"evaluation: {name.removeprefix('eval_')}"] = f"{value:.4g}"
    return {name: value for name, value in summary.items() if value is not None}


def _speed(history: Sequence[dict[str, Any]]) -> dict[str, str]:
    """What the trainer has measured; nothing else."""
    forms = {
        "train_runtime": ("training, seconds", "{:,.0f}"),
        "train_samples_per_second": ("clips a second in training", "{:.3g}"),
        "eval_samples_per_second": ("clips a second in evaluation", "{:.3g}"),
    }
    last = {name: entry[name] for entry in history for name in forms if isinstance(entry.get(name), int | float)}
    return {title: form.format(last[name]) for name, (title, form) in forms.items() if name in last}


def _stage_training_curve(history: Sequence[dict[str, Any]], path: Path) -> None:
    """Draws the curve, unless the checkpoint's folder has one or the record has too few losses for a line."""
    if path.exists() or sum("loss" in entry for entry in history) < 2:
        return
    # Here: importing a room of pictures loads modeling/, whose registration imports this file.
    from ..visualize.curves import draw_training_curve

    try:
        draw_training_curve(history, path)
    except ImportError as error:
        logger.warning(f"The card has no training curve: {error}")


def with_details_of(staged: Staged, details: Any) -> Any:
    """[`CardDetails`] with what was found beside the checkpoint; what the author gives comes first."""
    return replace(
        details,
        results=[*details.results, *staged.results],
        training=details.training or staged.training,
        speed=details.speed or staged.speed,
        example=details.example or staged.example,
        files=tuple(staged.sizes()),
    )


__all__ = ["FILE_IS_GENERATED", "SERVING_FILES", "Additions", "Staged", "staged", "with_details_of"]
