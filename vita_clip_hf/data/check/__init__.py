"""`vita-clip data check`: decodes a data set whole, reports its problems, and writes a list without them."""

from .checking import check_data
from .report import PROBLEMS, WARNINGS, DataReport, Finding, StrideFit

__all__ = ["PROBLEMS", "WARNINGS", "DataReport", "Finding", "StrideFit", "check_data"]
