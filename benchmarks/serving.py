"""
Requests in a second, and how long they take, of a server with one client and with several at once.

    python hub_cards/server.py --model my_adapter --port 8080 &
    python -m benchmarks.serving --url http://127.0.0.1:8080 --video clip.mp4 --clients 8 --seconds 60
"""

import argparse
import json
import threading
import time
import urllib.request
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path


@dataclass
class Load:
    """What a number of clients saw: seconds of each answer, and errors."""

    num_clients: int
    seconds: float
    latencies: list[float] = field(default_factory=list)
    errors: list[str] = field(default_factory=list)

    @property
    def throughput(self) -> float:
        """Answers in a second."""
        return len(self.latencies) / self.seconds

    def percentile(self, share: float) -> float:
        """Seconds within which that share of the answers came."""
        ordered = sorted(self.latencies)
        return ordered[min(int(share * len(ordered)), len(ordered) - 1)] if ordered else float("nan")

    def as_text(self) -> str:
        """One line."""
        times = f"p50 {1000 * self.percentile(0.5):.0f} ms, p95 {1000 * self.percentile(0.95):.0f} ms"
        clients = f"{self.num_clients} client{'s' * (self.num_clients > 1)}"
        return f"{clients}: {self.throughput:.2f} answers/s, {times}, {len(self.errors)} errors"


def measure(url: str, body: bytes, num_clients: int, seconds: float) -> Load:
    """Each client sends its next request when it has its answer, until the time is over."""
    load, start = Load(num_clients, seconds), time.monotonic()

    def client() -> None:
        while time.monotonic() < start + seconds:
            begin = time.monotonic()
            try:
                request = urllib.request.Request(url, data=body, headers={"Content-Type": "video/mp4"})
                with urllib.request.urlopen(request, timeout=120) as response:
                    json.load(response)
            except (OSError, ValueError) as error:
                load.errors.append(str(error))
                time.sleep(0.1)
            else:
                load.latencies.append(time.monotonic() - begin)

    threads = [threading.Thread(target=client) for _ in range(num_clients)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    load.seconds = time.monotonic() - start
    return load


def main(arguments: Sequence[str] | None = None) -> int:
    """Prints a line for one client and one for several. Returns 1 if there was any error."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.serving", description=__doc__.partition("\n\n")[0])
    parser.add_argument("--url", required=True, help="of a running server.py")
    parser.add_argument("--video", required=True, type=Path)
    parser.add_argument("--clients", type=int, default=8)
    parser.add_argument("--seconds", type=float, default=60, help="for each of the two measurements")
    options = parser.parse_args(arguments)
    body = options.video.read_bytes()
    loads = [measure(options.url, body, clients, options.seconds) for clients in (1, options.clients)]
    for load in loads:
        print(load.as_text())
        for error in sorted(set(load.errors)):
            print(f"  {error}")
    return int(any(load.errors for load in loads))


if __name__ == "__main__":
    raise SystemExit(main())
