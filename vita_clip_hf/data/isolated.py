"""Calls in processes that may die of them: a codec library that crashes takes one file with it, not the run."""

import multiprocessing
import signal
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass
from multiprocessing.connection import Connection, wait
from typing import Any


@dataclass(frozen=True)
class Died:
    """In place of a result: the process ended. `cause` says of what."""

    cause: str


def map_isolated(
    function: Callable[[Any], Any], items: Sequence[Any], *, num_workers: int, seconds: float
) -> Iterator[tuple[int, Any]]:
    """
    Calls `function` with each item in some processes.

    Args:
        function: of a module, so that other processes can import it; it and its results are pickled.
        items: its arguments.
        num_workers: processes.
        seconds: a call that takes longer is ended.

    Yields:
        Index and result of each item as they are done; where the process died, was killed, or took too long, `Died`.
        Another one takes its place.
    """
    # Not "fork": copies of this process would hold each other's pipes open, and its threads' locks.
    methods = multiprocessing.get_all_start_methods()
    context = multiprocessing.get_context("forkserver" if "forkserver" in methods else "spawn")
    if hasattr(context, "set_forkserver_preload"):
        context.set_forkserver_preload([function.__module__])  # slow imports once, not in each process
    waiting = list(range(len(items)))[::-1]
    workers = [_Worker(context, function) for _ in range(min(num_workers, len(items)))]
    try:
        while waiting or any(worker.is_busy for worker in workers):
            for worker in workers:
                if waiting and not worker.is_busy:
                    index = waiting.pop()
                    worker.ask(index, items[index], seconds)
            for number, worker in enumerate(workers):
                if worker.is_busy and worker.is_late:
                    yield worker.index, Died(f"was not done after {seconds:g} s")
                    workers[number] = worker.replace()
            busy: dict[Any, int] = {
                worker.connection: number for number, worker in enumerate(workers) if worker.is_busy
            }
            for connection in wait(list(busy), timeout=1.0) if busy else ():
                worker = workers[busy[connection]]
                index = worker.index
                result = worker.take()
                yield index, result
                if isinstance(result, Died):
                    workers[busy[connection]] = worker.replace()
    finally:
        for worker in workers:
            worker.end()


class _Worker:
    """A process, and what it is asked for."""

    def __init__(self, context: Any, function: Callable[[Any], Any]):
        self._context, self._function = context, function
        self.connection, theirs = context.Pipe()
        self._process = context.Process(target=_serve, args=(theirs, function), daemon=True)
        self._process.start()
        theirs.close()  # now the process alone has it: when it dies, we read the end of the file
        self.index, self.is_busy, self._is_up, self._deadline = -1, False, False, 0.0

    @property
    def is_late(self) -> bool:
        return time.monotonic() > self._deadline

    def ask(self, index: int, item: Any, seconds: float) -> None:
        with suppress(EOFError, OSError):  # where it died before, `take` says so
            if not self._is_up:
                self._is_up = self.connection.recv()  # its imports do not count as time for the item
            self.connection.send(item)
        self.index, self.is_busy, self._deadline = index, True, time.monotonic() + seconds

    def take(self) -> Any:
        self.is_busy = False
        try:
            return self.connection.recv()
        except (EOFError, OSError):
            self._process.join()
            return Died(_cause_of_death(self._process.exitcode))

    def replace(self) -> "_Worker":
        self.end()
        return _Worker(self._context, self._function)

    def end(self) -> None:
        self._process.kill()
        self._process.join()
        self.connection.close()


def _serve(connection: Connection, function: Callable[[Any], Any]) -> None:
    connection.send(True)
    while True:
        try:
            item = connection.recv()
        except EOFError:
            return
        connection.send(function(item))


def _cause_of_death(exit_code: int | None) -> str:
    if exit_code is not None and exit_code < 0:
        return f"was killed by {signal.Signals(-exit_code).name}"
    return f"ended with exit code {exit_code}"
