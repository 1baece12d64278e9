"""What a person sees while the benchmark runs, on standard error."""

import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from tqdm.auto import tqdm

from .timing import Work


class Progress:
    """Lines and bars; a bar names what was timed last and says how long the rest will take."""

    def __init__(self, quiet: bool = False):
        self.quiet = quiet

    def say(self, line: str) -> None:
        """One line."""
        if not self.quiet:
            tqdm.write(line, file=sys.stderr)

    @contextmanager
    def rounds(self, description: str, total: int) -> Iterator[Callable[[Work], None]]:
        """A bar over `total` timed samples; yields what to call after each."""
        with tqdm(total=total, desc=description, unit=" calls", disable=self.quiet) as bar:

            def advance(work: Work) -> None:
                bar.set_postfix_str(work.name)
                bar.update()

            yield advance
