"""Gradients through what has none: a hard decision on the way there, a soft one on the way back."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

__all__ = ["nearest", "sign"]


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


class _Nearest(torch.autograd.Function):
    @staticmethod
    def forward(context: Any, x: Tensor, centroids: Tensor, temperature: float) -> Tensor:
        # Minus squared distances, less what is the same for all centroids.
        sizes = centroids.square().sum(dim=1)
        closeness = torch.addmm(-sizes / temperature, x, centroids.T, alpha=2 / temperature)
        numbers = closeness.argmax(dim=1)
        context.save_for_backward(x, centroids, closeness, numbers)
        context.temperature = temperature
        return centroids[numbers]

    @staticmethod
    def backward(context: Any, *gradients: Tensor) -> tuple[None, Tensor, None]:
        x, centroids, closeness, numbers = context.saved_tensors
        (gradient,) = gradients
        share = closeness.softmax(dim=1)
        each = gradient @ centroids.T
        each = share * (each - (share * each).sum(dim=1, keepdim=True)) * (2 / context.temperature)
        total = each.T @ x - each.sum(dim=0)[:, None] * centroids
        return None, total.index_add(0, numbers, gradient), None


def nearest(x: Tensor, centroids: Tensor, temperature: float = 1.0) -> Tensor:
    """Return for each row (n, d) the nearest of centroids (k, d), which alone get a gradient.

    It is that of choosing by a softmax of minus the squared distances, divided by the temperature.
    """
    return _Nearest.apply(x, centroids, temperature)
