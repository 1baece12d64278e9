"""Class names as words: CLIP reads "apply eye makeup", data sets also write ApplyEyeMakeup and brush_hair."""

import os
import re
from collections.abc import Sequence

from ..labels import load_labels

_WORD = r"[A-Z][a-z]+|[A-Z]+(?![a-z])"
_CAMEL_CASE = re.compile(rf"(?=.*[a-z])(?:{_WORD})+")


def words_of(name: str) -> str:
    """`ApplyEyeMakeup` and `apply_eye_makeup` as "apply eye makeup"; other names without the blanks around them."""
    name = name.strip()
    if _CAMEL_CASE.fullmatch(name):
        return " ".join(re.findall(_WORD, name)).lower()
    return " ".join(name.replace("_", " ").split()) if "_" in name else name


def readable_class_names(source: str | os.PathLike | Sequence[str]) -> list[str]:
    """
    Class names in the order of their ids, as words where they are identifiers: where no name of the list has a space
    and at least one is of several words (`ApplyEyeMakeup`, `brush_hair`). Names with spaces stay as they are.

    Args:
        source: what `vita_clip_hf.labels.load_labels` takes: names, a file of names, or a list that ships.

    Raises:
        OSError: no such file.
        ValueError: names are empty or repeated.
    """
    names = load_labels(source)
    words = [words_of(name) for name in names]
    are_identifiers = not any(" " in name for name in names) and any(" " in name for name in words)
    return load_labels(words) if are_identifiers else names
