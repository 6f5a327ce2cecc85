"""Gradients through what has none: a hard decision on the way there, a soft one on the way back."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

__all__ = ["one_hot", "sign"]


class _Sign(torch.autograd.Function):
    @staticmethod
    def forward(context: Any, x: Tensor) -> Tensor:
        context.save_for_backward(x)
        return torch.where(x >= 0, 1.0, -1.0).to(x.dtype)

    @staticmethod
    def backward(context: Any, *gradients: Tensor) -> Tensor:
        (x,) = context.saved_tensors
        return gradients[0] * (x.abs() <= 1)


def sign(x: Tensor) -> Tensor:
    """Return +1 where x >= 0 and -1 elsewhere; the gradient passes where x is from -1 to 1, and is 0 elsewhere."""
    return _Sign.apply(x)


def one_hot(logits: Tensor) -> Tensor:
    """Return 1 at the largest of the last axis and 0 elsewhere; the gradient is that of the softmax."""
    soft = logits.softmax(dim=-1)
    hard = torch.zeros_like(soft).scatter(-1, soft.argmax(dim=-1, keepdim=True), 1.0)
    return hard + soft - soft.detach()
