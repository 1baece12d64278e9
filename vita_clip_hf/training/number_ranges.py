"""Settings that are numbers within bounds, checked by name before anything is loaded."""

import math
from typing import Any


def check_number(
    name: str,
    value: Any,
    least: float = -math.inf,
    most: float = math.inf,
    *,
    whole: bool = False,
    above: float | None = None,
) -> None:
    """
    Args:
        name: of the setting.
        value: that was given.
        least, most: bounds, both allowed.
        whole: whether only whole numbers are allowed.
        above: a bound that is not allowed itself.

    Raises:
        ValueError: the value is no number, not finite, or out of bounds.
    """
    kind = int if whole else (int, float)
    lower = least if above is None else above
    is_number = isinstance(value, kind) and not isinstance(value, bool) and math.isfinite(value)
    if is_number and least <= value <= most and (above is None or value > above):
        return
    bounds = []
    if math.isfinite(lower):
        bounds.append(f"more than {lower:g}" if above is not None else f"at least {lower:g}")
    if math.isfinite(most):
        bounds.append(f"at most {most:g}")
    expected = " ".join(["a whole number" if whole else "a number", " and ".join(bounds)]).strip()
    raise ValueError(f"{name} is {value!r}; expected {expected}.")
