"""Whether torch computes and nothing else, records what to compute, or is asked for more than values."""

from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar

import torch
from torch.autograd import forward_ad
from torch.utils._python_dispatch import is_in_torch_dispatch_mode

_watcher_knows_shortcuts: ContextVar[bool] = ContextVar("watcher_knows_shortcuts", default=False)


def in_graph() -> bool:
    """Whether torch is recording a graph (torch.compile, torch.export, torch.jit.trace) instead of computing."""
    return torch.compiler.is_compiling() or torch.jit.is_tracing()


def in_transform() -> bool:
    """
    Whether torch.func's vmap, grad or another transform is at work, or forward-mode differentiation, which have rules
    for torch's operations only. torch's own autograd.Function asks for the first in the same way.
    """
    return torch._C._are_functorch_transforms_active() or forward_ad._current_level >= 0


def is_watched() -> bool:
    """Whether a mode sees every operation, to count it or to fake it: it knows torch's operations by their names."""
    return is_in_torch_dispatch_mode() and not _watcher_knows_shortcuts.get()


@contextmanager
def watched_by_one_who_knows() -> Iterator[None]:
    """Shortcuts are taken within, although a mode sees every operation: it is told what their operations are."""
    token = _watcher_knows_shortcuts.set(True)
    try:
        yield
    finally:
        _watcher_knows_shortcuts.reset(token)
