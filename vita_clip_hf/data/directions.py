"""Classes that a mirror changes into others."""

import re
from collections.abc import Sequence

_DIRECTION = re.compile(r"\b(left|right|leftwards?|rightwards?|(counter|anti)?[- ]?clockwise)\b", re.IGNORECASE)
_SOMETHING = re.compile(r"\bsomething\b", re.IGNORECASE)


def reason_not_to_flip(class_names: Sequence[str]) -> str | None:
    """The reason why clips of these classes must not be mirrored; `None` if they may be."""
    directed = [name for name in class_names if _DIRECTION.search(name.replace("_", " "))]
    if directed:
        return f"a mirror changes what {len(directed)} of the classes mean, such as {directed[0]!r}"
    return None


def is_something_something(class_names: Sequence[str]) -> bool:
    """Whether these are Something-Something's templates, or a part of them: most name "something"."""
    return 2 * sum(bool(_SOMETHING.search(name)) for name in class_names) > len(class_names)
