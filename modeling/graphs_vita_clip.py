"""Whether torch computes, or records what it would compute."""

import torch


def in_graph() -> bool:
    """Whether torch is recording a graph (torch.compile, torch.export, torch.jit.trace) instead of computing."""
    return torch.compiler.is_compiling() or torch.jit.is_tracing()
