"""Tables in Markdown, and figures as they stand in them."""

from collections.abc import Sequence
from statistics import fmean, stdev


def markdown_table(header: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """A table in Markdown, with a line end behind its last row; cells may hold any letter."""
    rule = "|---" * len(header) + "|\n"
    escaped = ([cell.replace("|", "\\|") for cell in cells] for cells in (header, *rows))
    first, *others = (f"| {' | '.join(cells)} |\n" for cells in escaped)
    return first + rule + "".join(others)


def in_percent(shares: Sequence[float], digits: int = 1) -> str:
    """Mean and sample standard deviation of shares from 0 to 1, such as "50.2 ± 1.3"; of equal ones the mean alone."""
    average, spread = mean_and_deviation([100 * share for share in shares])
    return f"{average:.{digits}f}" + (f" ± {spread:.{digits}f}" if spread else "")


def mean_and_deviation(values: Sequence[float]) -> tuple[float, float]:
    """The mean and the sample standard deviation, which is 0 of one value."""
    return fmean(values), stdev(values) if len(values) > 1 else 0.0


__all__ = ["in_percent", "markdown_table", "mean_and_deviation"]
