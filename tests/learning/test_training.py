"""The training loop: seeds, checkpoints, interruption, and losses that are no numbers."""

from __future__ import annotations

import numpy as np
import pytest

torch = pytest.importorskip("torch")

from isometry.errors import Diverged, InvalidInput, MissingExtra  # noqa: E402
from isometry.learning.training import batches_of, shared_vectors, train  # noqa: E402


class Interrupted(Exception):
    pass


def fit(epochs=4, checkpoint=None, stop=None, seed=0, rates=0.1, poison=None, **options):
    """Fit y = 2 x + 1; return the module, the losses, and the epochs that were told."""
    torch.manual_seed(0)
    module = torch.nn.Linear(1, 1)
    x = torch.linspace(-1, 1, 40)[:, None]
    told, steps = [], [0]

    def loss(batch):
        steps[0] += 1
        if steps[0] == stop:
            raise Interrupted
        value = (module(x[batch]) - 2 * x[batch] - 1).square().mean()
        return value * float("nan") if steps[0] == poison else value

    history = train(
        module, lambda epoch, rng: batches_of(40, 8, rng), loss, epochs=epochs, rates=rates, seed=seed,
        checkpoint=checkpoint, progress=lambda *what: told.append(what), **options,
    )  # fmt: skip
    return module, history, told


def weights(module):
    return [each.tolist() for each in module.parameters()]


def test_it_learns_and_tells():
    module, history, told = fit(epochs=20)
    assert history[-1] < 0.05 < history[0]
    assert [done for done, _, _ in told] == list(range(1, 21))
    assert told[-1][2].startswith("training, loss 0.0")
    assert module.weight.item() == pytest.approx(2, abs=0.3)


def test_same_seed_same_result():
    assert weights(fit()[0]) == weights(fit()[0]) != weights(fit(seed=1)[0])


def test_an_interrupted_training_goes_on_where_it_was(tmp_path):
    path = tmp_path / "state"
    with pytest.raises(Interrupted):
        fit(checkpoint=path, stop=13)  # in the third epoch of five steps each
    module, history, told = fit(checkpoint=path)
    whole, all_of_it, _ = fit()
    assert [done for done, _, _ in told] == [3, 4]
    assert history == all_of_it
    assert weights(module) == weights(whole)
    assert weights(fit(checkpoint=path)[0]) == weights(whole), "a finished training is only read"


def test_a_checkpoint_of_another_training_is_refused(tmp_path):
    path = tmp_path / "state"
    fit(checkpoint=path)
    for other in ({"epochs": 5}, {"seed": 1}, {"rates": 0.2}):
        with pytest.raises(InvalidInput, match="holds another training"):
            fit(checkpoint=path, **other)


def test_a_loss_that_is_no_number_stops_with_the_place(tmp_path):
    path = tmp_path / "state"
    with pytest.raises(Diverged, match=r"loss is nan at epoch 2, step 3; .*state holds 1 epochs"):
        fit(checkpoint=path, poison=8)
    with pytest.raises(Diverged, match="epoch 1, step 1; last good checkpoint: none was asked for"):
        fit(poison=1)
    assert len(fit(checkpoint=path)[1]) == 4, "and goes on from the checkpoint"


def test_rates_belong_to_names():
    torch.manual_seed(0)
    start = torch.nn.Linear(1, 1)
    module, _, _ = fit(rates={"weight": 0.1})
    assert module.bias.item() == start.bias.item()
    assert module.weight.item() != start.weight.item()
    with pytest.raises(InvalidInput, match="begins with 'wieght'; expected one of weight, bias"):
        fit(rates={"wieght": 0.1})
    with pytest.raises(InvalidInput, match="learning rate is -1"):
        fit(rates=-1)
    with pytest.raises(InvalidInput, match="warmup is 1"):
        fit(warmup=1.0)


def test_vectors_are_checked_together():
    good = np.eye(3, dtype=np.float32)
    assert all(each.dtype == np.float32 for each in shared_vectors(good, good, names="ab"))
    for bad, said in ((np.zeros((2, 3)), "2 rows of zeros"), (good[:, :2], "dimensions"), (good * np.nan, "NaN")):
        with pytest.raises(InvalidInput, match=said):
            shared_vectors(good, bad, names="ab")
    with pytest.raises(InvalidInput, match="b has no rows"):
        shared_vectors(good, good[:0], names="ab")


def test_without_torch_the_extra_is_named(monkeypatch):
    import isometry.learning as learning

    monkeypatch.setitem(__import__("sys").modules, "torch", None)
    with pytest.raises(MissingExtra, match=r"isometry\[learn\]"):
        learning.__getattr__("JPQ")
    with pytest.raises(AttributeError, match="no attribute 'JQP'"):
        learning.__getattr__("JQP")
