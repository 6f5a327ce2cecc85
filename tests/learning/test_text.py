"""Our loss for sentence-transformers, on a small model that reads what theirs read."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from isometry.errors import InvalidInput
from isometry.learning import InfoNCELoss


class Small(nn.Module):
    """Mean of word vectors, with dropout; notes how many texts it reads at a time."""

    def __init__(self) -> None:
        super().__init__()
        self.words, self.drop = nn.Embedding(50, 8), nn.Dropout(0.3)
        self.read: list[int] = []

    def forward(self, features):
        self.read.append(len(features["input_ids"]))
        mask = features["attention_mask"][:, :, None]
        total = (self.drop(self.words(features["input_ids"])) * mask).sum(dim=1)
        return {"sentence_embedding": total / mask.sum(dim=1).clamp_min(1)}


def columns(n: int = 10, seed: int = 0):
    generator = torch.Generator().manual_seed(seed)
    for length in (5, 7, 3):
        mask = torch.ones(n, length)
        mask[::3, -1] = 0
        yield {"input_ids": torch.randint(50, (n, length), generator=generator), "attention_mask": mask, "role": "text"}


@pytest.mark.parametrize("training", [False, True])
@pytest.mark.parametrize("options", [{}, {"hardest": 3, "symmetric": True}])
def test_small_batches_have_the_gradient_of_the_whole(options, training):
    torch.manual_seed(0)
    model = Small().train(training)
    if training:
        model.drop.p = 0.0
    losses, gradients = [], []
    for size in (None, 4):
        model.zero_grad()
        loss = InfoNCELoss(model, mini_batch_size=size, **options)(columns())
        loss.backward()
        losses.append(loss.item())
        gradients.append(model.words.weight.grad.clone())
    assert losses[1] == pytest.approx(losses[0], rel=1e-6)
    assert torch.allclose(gradients[0], gradients[1], atol=1e-6)
    assert gradients[0].abs().max() > 0
    assert max(model.read[3:]) == 4


def test_dropout_is_the_same_on_the_way_back():
    torch.manual_seed(0)
    model = Small().train()
    loss = InfoNCELoss(model, mini_batch_size=4)(columns())
    weight = model.words.weight
    (seen,) = torch.autograd.grad(loss, weight)
    torch.manual_seed(0)
    again = Small().train()
    parts = [
        torch.cat(
            [again({k: v[i : i + 4] for k, v in each.items() if k != "role"})["sentence_embedding"] for i in (0, 4, 8)]
        )
        for each in columns()
    ]
    again_loss = InfoNCELoss(lambda part: part)([{"sentence_embedding": part} for part in parts])
    (expected,) = torch.autograd.grad(again_loss, again.words.weight)
    assert loss.item() == pytest.approx(again_loss.item(), rel=1e-6)
    assert torch.allclose(seen, expected, atol=1e-6)


def test_what_can_not_be_cut_is_refused():
    model = nn.Identity()
    with pytest.raises(InvalidInput, match="mini_batch_size is 0"):
        InfoNCELoss(model, mini_batch_size=0)
    bag = {"input_ids": torch.zeros(5, dtype=torch.int64), "offsets": torch.zeros(2, dtype=torch.int64)}
    with pytest.raises(InvalidInput, match="input_ids, offsets, which can't be cut"):
        InfoNCELoss(model, mini_batch_size=2)([bag, bag])


def test_one_column_is_no_pair():
    with pytest.raises(InvalidInput, match="one column"):
        InfoNCELoss(Small())(list(columns())[:1])


def test_the_card_of_a_model_names_all_parameters():
    loss = InfoNCELoss(Small(), temperature=0.1, hardest=8, mini_batch_size=32)
    assert loss.get_config_dict() == {"temperature": 0.1, "hardest": 8, "symmetric": False, "mini_batch_size": 32}
