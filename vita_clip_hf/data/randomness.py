"""Random draws that depend on what is drawn for, and on nothing else."""

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


def draw_uniform(low: float, high: float, generator: torch.Generator) -> float:
    """A float from `low` up to `high`."""
    return low + (high - low) * float(torch.rand((), generator=generator, dtype=torch.float64))


class SharedEpoch:
    """The number of the epoch, in memory that the DataLoader's workers share: they live longer than one epoch."""

    def __init__(self) -> None:
        self._epoch = torch.zeros((), dtype=torch.int64).share_memory_()

    def set(self, epoch: int) -> None:
        """For all processes."""
        self._epoch.fill_(epoch)

    def get(self) -> int:
        """0 until it is set."""
        return int(self._epoch)
