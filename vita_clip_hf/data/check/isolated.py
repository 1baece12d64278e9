"""Calls in other processes: if a codec library crashes, one file is lost and the run goes on."""

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
    """Stands in place of a result if the process ended; `cause` says why."""

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
        Index and result of each item as they are done; `Died` if the process died, was killed, or took too long. A new
        process replaces it.
    """
    # Not "fork": copies of this process would keep each other's pipes open, and hold the locks of its threads.
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
    """A process, and the item that it works on."""

    def __init__(self, context: Any, function: Callable[[Any], Any]):
        self._context, self._function = context, function
        self.connection, theirs = context.Pipe()
        self._process = context.Process(target=_serve, args=(theirs, function), daemon=True)
        self._process.start()
        theirs.close()  # the process alone has it now: if it dies, reading meets the end of the file
        self.index, self.is_busy, self._is_up, self._deadline = -1, False, False, 0.0

    @property
    def is_late(self) -> bool:
        return time.monotonic() > self._deadline

    def ask(self, index: int, item: Any, seconds: float) -> None:
        with suppress(EOFError, OSError):  # if it died before, `take` reports it
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
