"""
Two kinds of equality: stored tensors are compared bit by bit, computed ones within one stated tolerance.

The same product of the same numbers may have other bits in its last places: kernels choose the order of their sums by
the processor, the number of threads, the batch size and the alignment of the tensors in memory.
"""

from collections.abc import Mapping
from typing import Any

import torch

# The largest difference, as a share of the largest expected number if that is above 1. On the toy models other
# addresses make 1e-6 of it, a tensor set to zero at least 1e-3 (save keys' biases, which cancel), and other weights
# more than 0.5; rounding to bfloat16 makes 0.03.
TOLERANCE = {torch.float32: 1e-5, torch.bfloat16: 0.05}


def assert_computed_equal(found: Any, expected: Any, computed_in: torch.dtype = torch.float32) -> None:
    """
    Fails where `found` differs from `expected` by more than rounding, or in shape or dtype.

    Args:
        found, expected: tensors, numbers or nested lists of numbers; `expected` is finite.
        computed_in: the precision of the weights; logits are float32 whatever it is.
    """
    found, expected = torch.as_tensor(found), torch.as_tensor(expected)
    assert expected.isfinite().all()
    size = max(1.0, expected.abs().max().item())
    torch.testing.assert_close(found, expected, atol=TOLERANCE[computed_in] * size, rtol=0)


def assert_stored_equal(found: Mapping[str, torch.Tensor], expected: Mapping[str, torch.Tensor]) -> None:
    """Fails where two sets of named tensors differ in a name or in a bit."""
    assert found.keys() == expected.keys()
    other = [name for name, tensor in expected.items() if not torch.equal(found[name], tensor)]
    assert not other, f"other values: {other}"
