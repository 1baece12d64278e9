"""Random draws that depend on the sample that they are for, and on nothing else."""

from collections.abc import Iterator
from contextlib import contextmanager

import numpy as np
import torch


def generator_for(*identity: int) -> torch.Generator:
    """
    A generator for one sample: the same for the same numbers (seed, epoch, index, ...), whatever process asks, and
    independent for different ones. Numbers must not be negative.
    """
    state = np.random.SeedSequence(identity).generate_state(1, np.uint64)[0]
    return torch.Generator().manual_seed(int(state) >> 1)


def draw_below(limit: int, generator: torch.Generator) -> int:
    """An integer from 0 to `limit - 1`."""
    return int(torch.randint(limit, (), generator=generator))


@contextmanager
def global_draws_from(generator: torch.Generator) -> Iterator[None]:
    """
    Inside the block torch's global draws on the CPU come from `generator`, as torchvision's transforms draw; after it
    the global generator is where it was, and `generator` is past the draws.
    """
    with torch.random.fork_rng(devices=[]):
        torch.set_rng_state(generator.get_state())
        yield
        generator.set_state(torch.get_rng_state())


class SharedEpoch:
    """The number of the epoch, in memory that the DataLoader's workers share, since they may outlive an epoch."""

    def __init__(self) -> None:
        self._epoch = torch.zeros((), dtype=torch.int64).share_memory_()

    def set(self, epoch: int) -> None:
        """For all processes."""
        self._epoch.fill_(epoch)

    def get(self) -> int:
        """0 until it is set."""
        return int(self._epoch)
