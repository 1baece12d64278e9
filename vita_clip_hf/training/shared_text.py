"""The classes are encoded once in an optimizer step, however many batches its gradient is accumulated over."""

import torch
from torch import nn


class SharedTextFeatures:
    """
    Class features c(θ) for the n batches of one optimizer step. Their gradient is exact if c is the same for all
    batches: without dropout in the text tower.

    The step's loss is Σ_i L_i(v_i, c) / n. The batches 1..n-1 see c cut off from its graph, so that each leaves
    g_i = ∂L_i/∂c there and the text tower's backward pass is not run. The last batch sees c with its graph, and
    <Σ g_i, c> is added to its loss: the gradient of that term in θ is the part of the other batches, Σ g_i ∂c/∂θ. So
    the text tower runs forwards and backwards once.
    """

    def __init__(self) -> None:
        self._features: torch.Tensor | None = None
        self._cut: torch.Tensor | None = None

    def features_for(self, model: nn.Module, is_last: bool) -> torch.Tensor:
        """
        The classes' features, `(C, D')`.

        Args:
            model: a [`VitaClipModel`], not wrapped.
            is_last: whether this batch ends the optimizer step.
        """
        if self._features is None or self._cut is None:
            # In float32, so that the gradients of the batches are not summed up in a base's bfloat16.
            self._features = model.get_class_features().pooler_output.float()
            self._cut = self._features.detach().requires_grad_()
        return self._features if is_last else self._cut

    def settle(self, num_batches: int, loss_scale: float) -> torch.Tensor | float:
        """
        The term to add to the last batch's loss, before that is divided by `num_batches` and multiplied by
        `loss_scale` as the losses of the other batches were. Forgets the features: the optimizer is about to change
        the weights.
        """
        features, cut = self._features, self._cut
        self.forget()
        if features is None or cut is None or cut.grad is None:
            return 0.0
        # The batches left scaled gradients, cut.grad = Σ loss_scale * g_i / n, and this term will be scaled again.
        owed = (cut.grad * features).sum() * (num_batches / loss_scale)
        return owed - owed.detach()  # a gradient, and no change of the loss that is logged

    def forget(self) -> None:
        self._features = self._cut = None
