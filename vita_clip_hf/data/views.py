"""Views of a video as they are written on the command line."""

import argparse
import re


def parse_views(text: str) -> tuple[int, int]:
    """
    `4x3`: clips of a video at different times, and crops of each. A `type` of argparse.

    Raises:
        argparse.ArgumentTypeError: the text has another form.
    """
    match = re.fullmatch(r"([1-9]\d*)[xX]([1-9]\d*)", text)
    if match is None:
        raise argparse.ArgumentTypeError(f"expected clips x crops, such as 4x3, found {text!r}")
    return int(match[1]), int(match[2])


__all__ = ["parse_views"]
