"""The share of time in which training waits for clips, and the device has nothing to do."""

import time
from collections.abc import Iterator
from contextlib import contextmanager


class DataWait:
    """Adds up waiting times, and tells their share of the time since it was last asked."""

    def __init__(self) -> None:
        self._waited, self._since = 0.0, time.perf_counter()

    @contextmanager
    def waiting(self) -> Iterator[None]:
        begin = time.perf_counter()
        yield
        self._waited += time.perf_counter() - begin

    def take_share(self) -> float:
        """From 0 to 1, since the last call."""
        now = time.perf_counter()
        share = self._waited / max(now - self._since, 1e-9)
        self._waited, self._since = 0.0, now
        return share
