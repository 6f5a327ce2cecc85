"""A small loop for training on vectors that are already there: seeds, checkpoints, resume, progress."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from isometry.errors import Diverged, InvalidInput, check_range
from isometry.storage import read_folder, write_folder

__all__ = ["Progress", "batches_of", "shared_vectors", "train"]

Progress = Callable[[int, int | None, str], None]
Batch = TypeVar("Batch")

_KIND = "isometry-training"
_MOMENTS = ("exp_avg", "exp_avg_sq")


def train(
    module: nn.Module,
    batches: Callable[[int, np.random.Generator], Iterable[Batch]],
    loss: Callable[[Batch], Tensor],
    *,
    epochs: int,
    rates: Mapping[str, float] | float,
    weight_decay: float = 0.0,
    warmup: float = 0.1,
    clip: float | None = None,
    touched: Sequence[str] = (),
    after_epoch: Callable[[int], None] | None = None,
    seed: int = 0,
    checkpoint: str | os.PathLike[str] | None = None,
    progress: Progress | None = None,
) -> list[float]:
    """Train a module by AdamW, and return the mean loss of every epoch.

    Parameters
    ----------
    module : nn.Module
        What is trained, in place, on the device where it is.
    batches : callable
        ``batches(epoch, rng)`` returns the batches of an epoch; all chance comes from `rng`.
    loss : callable
        ``loss(batch)`` returns one number with a gradient.
    epochs : int
        At least 1.
    rates : float or mapping
        Learning rate, or one for every parameter whose name begins so; the others stay as they are.
    weight_decay : float, default 0
    warmup : float, default 0.1
        Over this share of the steps the rates grow from 0; then they fall in a straight line to 0.
    clip : float, optional
        Gradients longer than this, all together, are shortened to it.
    touched : sequence of str, optional
        Parameters whose names begin so have sparse gradients: in a step only those of their rows move, moments and all,
        that it touches (SparseAdam, without weight decay).
    after_epoch : callable, optional
        Called with the number of epochs that are done.
    seed : int, default 0
        Same seed, same result, on one thread of torch's to the last bit.
    checkpoint : path, optional
        Folder that holds the state after every epoch. If it is there already, training goes on where it stopped; with
        other settings it is refused.
    progress : callable, optional
        Called with (epochs done, epochs, what) as they end.

    Raises
    ------
    Diverged
        A loss is NaN or infinite: with epoch, step and last good checkpoint. The module then has the parameters from
        before that step.
    InvalidInput
        A number out of its range, no batches, or a checkpoint of another training.

    Notes
    -----
    The schedule needs the number of steps: it is that of the first epoch, times `epochs`. Checkpoints hold parameters,
    buffers and both moments of AdamW as plain arrays; what an interrupted epoch had done is done again.
    """
    check_range("epochs", epochs, 1)
    check_range("seed", seed, 0)
    if not 0 <= warmup < 1:
        raise InvalidInput(f"warmup is {warmup!r}; expected a share from 0 to below 1")
    optimizers = _optimizers(_groups(module, rates), weight_decay, tuple(touched))
    settings = {"epochs": epochs, "seed": seed, "rates": str(rates), "weight_decay": weight_decay, "warmup": warmup}
    kept = None if checkpoint is None else Path(checkpoint)
    history, steps = _resume(kept, module, optimizers, settings)
    for epoch in range(len(history), epochs):
        found: list[float] = []
        items: Iterable[Batch] = batches(epoch, np.random.default_rng([seed, epoch]))
        if not steps:
            items = list(items)
            steps = len(items)
        for step, batch in enumerate(items):
            at = (epoch * steps + step + 0.5) / (epochs * steps)
            share = min(at / warmup if warmup else 1.0, max((1 - at) / (1 - warmup), 0.0), 1.0)
            for optimizer in optimizers:
                for group in optimizer.param_groups:
                    group["lr"] = share * group["rate"]
                optimizer.zero_grad()
            value = loss(batch)
            number = float(value.detach())
            if not np.isfinite(number):
                where = "none was asked for" if kept is None else f"{kept} holds {len(history)} epochs"
                raise Diverged(
                    f"the loss is {number} at epoch {epoch + 1}, step {step + 1}; last good checkpoint: {where}. "
                    "Lower the learning rate, and look for vectors that are zero"
                )
            value.backward()
            if clip is not None:
                nn.utils.clip_grad_norm_(module.parameters(), clip)
            for optimizer in optimizers:
                optimizer.step()
            found.append(number)
        if not found:
            raise InvalidInput(f"epoch {epoch + 1} has no batches; expected at least one")
        history.append(float(np.mean(found)))
        if after_epoch is not None:
            after_epoch(epoch + 1)
        if kept is not None:
            _keep(kept, module, optimizers, settings, history, steps)
        if progress is not None:
            progress(epoch + 1, epochs, f"training, loss {history[-1]:.4f}")
    return history


def batches_of(n: int, size: int, rng: np.random.Generator) -> list[NDArray[np.int64]]:
    """Return 0 to n - 1 in random order, `size` at a time; the last batch may be shorter."""
    return [part for part in np.split(rng.permutation(n), range(size, n, size)) if len(part)]


def shared_vectors(*sides: Any, names: Sequence[str]) -> list[NDArray[np.float32]]:
    """Return arrays of vectors, each checked, of one number of dimensions and without zeros.

    Raises
    ------
    DimensionMismatch, InvalidInput
        They differ in dimensions; NaN, infinity, no rows, or rows without a direction.
    """
    from isometry.vectors import as_dense

    checked: list[NDArray[np.float32]] = []
    for side, name in zip(sides, names, strict=True):
        array = as_dense(side, dim=checked[0].shape[1] if checked else None, name=name)
        if not len(array):
            raise InvalidInput(f"{name} has no rows; expected at least one")
        empty = np.flatnonzero(~array.any(axis=1))
        if len(empty):
            raise InvalidInput(f"{name} has {len(empty)} rows of zeros, first at row {empty[0]}; leave them out")
        checked.append(array)
    return checked


def _optimizers(
    groups: list[dict[str, Any]], weight_decay: float, touched: tuple[str, ...]
) -> list[torch.optim.Optimizer]:
    sparse = [group for group in groups if group["name"].startswith(touched)] if touched else []
    dense = [group for group in groups if not touched or not group["name"].startswith(touched)]
    found: list[torch.optim.Optimizer] = [torch.optim.AdamW(dense, weight_decay=weight_decay)] if dense else []
    return found + ([torch.optim.SparseAdam(sparse)] if sparse else [])


def _groups(module: nn.Module, rates: Mapping[str, float] | float) -> list[dict[str, Any]]:
    given = {"": rates} if isinstance(rates, int | float) else dict(rates)
    groups = []
    for start, rate in given.items():
        if not 0 <= rate < np.inf:
            raise InvalidInput(f"a learning rate is {rate!r}; expected a number >= 0")
        named = [each for name, each in module.named_parameters() if name.startswith(start) and each.requires_grad]
        if not named:
            raise InvalidInput(f"no parameter's name begins with {start!r}; expected one of {_names(module)}")
        groups.append({"params": named, "lr": rate, "rate": rate, "name": start})
    return groups


def _names(module: nn.Module) -> str:
    return ", ".join(name for name, _ in module.named_parameters())


def _keep(
    path: Path,
    module: nn.Module,
    optimizers: Sequence[torch.optim.Optimizer],
    settings: dict[str, Any],
    history: list[float],
    steps: int,
) -> None:
    arrays = {f"module_{i}": each.detach().cpu().numpy() for i, each in enumerate(module.state_dict().values())}
    taken = 0
    for i, (optimizer, each) in enumerate(_trained(optimizers)):
        moments = optimizer.state.get(each, {})
        for name in _MOMENTS:
            if name in moments:
                arrays[f"{name}_{i}"] = moments[name].cpu().numpy()
                taken = int(moments["step"])
    write_folder(path, _KIND, settings | {"history": history, "steps": steps, "taken": taken}, arrays, overwrite=True)


def _resume(
    path: Path | None, module: nn.Module, optimizers: Sequence[torch.optim.Optimizer], settings: dict[str, Any]
) -> tuple[list[float], int]:
    if path is None or not path.exists():
        return [], 0
    folder = read_folder(path, _KIND)
    kept = {name: folder.parameters.get(name) for name in settings}
    state = module.state_dict()
    names = [f"module_{i}" for i in range(len(state))]
    shapes = [tuple(each.shape) for each in state.values()]
    found = [folder.arrays[name].shape if name in folder.arrays else None for name in names]
    if kept != settings or found != shapes:
        raise InvalidInput(
            f"{path} holds another training ({kept}, arrays {found}); expected {settings}, arrays {shapes}: pass "
            "another folder, or delete this one to begin anew"
        )
    module.load_state_dict(
        {name: torch.from_numpy(np.array(folder.arrays[key])) for name, key in zip(state, names, strict=True)}
    )
    for i, (optimizer, each) in enumerate(_trained(optimizers)):
        if f"{_MOMENTS[0]}_{i}" in folder.arrays:
            moments = {
                name: torch.from_numpy(np.array(folder.arrays[f"{name}_{i}"])).to(each.device) for name in _MOMENTS
            }
            taken = int(folder.parameters["taken"])
            step = taken if isinstance(optimizer, torch.optim.SparseAdam) else torch.tensor(float(taken))
            optimizer.state[each] = {"step": step} | moments
    return [float(value) for value in folder.parameters["history"]], int(folder.parameters["steps"])


def _trained(optimizers: Sequence[torch.optim.Optimizer]) -> list[tuple[torch.optim.Optimizer, Tensor]]:
    return [(each, tensor) for each in optimizers for group in each.param_groups for tensor in group["params"]]
