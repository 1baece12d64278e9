"""Whether torch computes, or records what to compute."""

import torch


def in_graph() -> bool:
    """Whether torch is recording a graph (torch.compile, torch.export, torch.jit.trace) instead of computing."""
    return torch.compiler.is_compiling() or torch.jit.is_tracing()


def in_transform() -> bool:
    """Whether torch.func's vmap, grad or another transform is at work, which has rules for torch's operations only."""
    return torch._C._are_functorch_transforms_active()  # asked by torch's own autograd.Function too
