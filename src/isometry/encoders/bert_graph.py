"""A BERT-like encoder as an OpenVINO graph, built straight from its weights: no export step, no torch."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from isometry.encoders.bert_recipe import TermHead
from isometry.encoders.openvino_import import import_openvino

if TYPE_CHECKING:
    from numpy.typing import NDArray
    from openvino import Model

    from isometry.encoders.bert_recipe import BertRecipe, PooledHead

MASKED = np.float32(-1e9)
# Terms scored at once. The scores of a batch's tokens for so many terms stay in cache until their maximum is taken.
TERM_BLOCK = 1024


def build_graph(recipe: BertRecipe) -> Model:
    """Return the graph from token ids to vectors; the weights stay where they are (memory-mapped, shared).

    Parameters
    ----------
    recipe : BertRecipe

    Returns
    -------
    openvino.Model
        Inputs: ids ``(b, t)`` int32 and mask ``(b, t)`` float32, 1 for tokens and 0 for padding. Output ``(b, dim)``;
        of a sparse encoder the largest score of each term, before what is not positive is dropped and the rest damped.

    References
    ----------
    Devlin et al., NAACL 2019, arXiv:1810.04805 (post-norm transformer encoder with learned positions).
    Formal et al., SIGIR 2021, arXiv:2107.05720 (scores of terms from the masked-language-model head).
    """
    openvino = import_openvino()
    ops = openvino.opset13
    ids = ops.parameter([-1, -1], np.int32, "ids")
    mask = ops.parameter([-1, -1], np.float32, "mask")
    layers = _Layers(recipe)
    bias = ops.unsqueeze(ops.multiply(ops.subtract(np.float32(1), mask), MASKED), layers.axes(1, 2))
    states = [layers.embed(ids)]
    for number in range(recipe.layers):
        states.append(layers.block(states[-1], bias, f"encoder.layer.{number}."))
    head = recipe.head
    out = layers.terms(states[-1], mask, head) if isinstance(head, TermHead) else layers.pooled(states, mask, head)
    return openvino.Model([out], [ids, mask], "bert")


class _Layers:
    """The pieces of the graph, each a few operations over named weights."""

    def __init__(self, recipe: BertRecipe) -> None:
        self.ops: Any = import_openvino().opset13
        self.recipe = recipe
        self.width = recipe.tensors["embeddings.word_embeddings.weight"].shape[1]

    def axes(self, *values: int) -> Any:
        return self.ops.constant(np.array(values, np.int64))

    def weight(self, values: NDArray[np.float32]) -> Any:
        return self.ops.constant(values, shared_memory=True)

    def named(self, name: str) -> Any:
        return self.weight(self.recipe.tensors[name])

    def pair(self, name: str) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
        return self.recipe.tensors[name + ".weight"], self.recipe.tensors[name + ".bias"]

    def linear(self, x: Any, weight: NDArray[np.float32], bias: NDArray[np.float32]) -> Any:
        return self.ops.add(self.ops.matmul(x, self.weight(weight), False, True), self.weight(bias))

    def layer_norm(self, x: Any, weight: NDArray[np.float32], bias: NDArray[np.float32]) -> Any:
        x = self.ops.mvn(x, self.axes(-1), True, self.recipe.layer_norm_eps, "inside_sqrt")
        return self.ops.add(self.ops.multiply(x, self.weight(weight)), self.weight(bias))

    def embed(self, ids: Any) -> Any:
        ops, first = self.ops, self.recipe.first_position
        length = ops.gather(ops.shape_of(ids), self.axes(1), self.axes(0))
        words = ops.gather(self.named("embeddings.word_embeddings.weight"), ids, self.axes(0))
        table = self.named("embeddings.position_embeddings.weight")
        positions = ops.slice(table, self.axes(first), ops.add(length, self.axes(first)), self.axes(1), self.axes(0))
        kind = self.weight(self.recipe.tensors["embeddings.token_type_embeddings.weight"][0])
        return self.layer_norm(ops.add(ops.add(words, positions), kind), *self.pair("embeddings.LayerNorm"))

    def block(self, x: Any, bias: Any, name: str) -> Any:
        ops = self.ops
        mixed = self.attention(x, bias, name + "attention.self.")
        attended = self.linear(mixed, *self.pair(name + "attention.output.dense"))
        x = self.layer_norm(ops.add(x, attended), *self.pair(name + "attention.output.LayerNorm"))
        hidden = ops.gelu(self.linear(x, *self.pair(name + "intermediate.dense")), self.recipe.gelu)
        x = ops.add(x, self.linear(hidden, *self.pair(name + "output.dense")))
        return self.layer_norm(x, *self.pair(name + "output.LayerNorm"))

    def attention(self, x: Any, bias: Any, name: str) -> Any:
        ops, heads = self.ops, self.recipe.heads
        swap = self.axes(0, 2, 1, 3)
        split = self.axes(0, 0, heads, self.width // heads)
        query, key, value = (
            ops.transpose(ops.reshape(self.linear(x, *self.pair(name + part)), split, True), swap)
            for part in ("query", "key", "value")
        )
        mixed = ops.scaled_dot_product_attention(query, key, value, bias)
        return ops.reshape(ops.transpose(mixed, swap), self.axes(0, 0, self.width), True)

    def first(self, x: Any) -> Any:
        return self.ops.gather(x, self.ops.constant(np.int64(0)), self.axes(1))

    def terms(self, x: Any, mask: Any, head: TermHead) -> Any:
        ops = self.ops
        x = self.layer_norm(ops.gelu(self.linear(x, *head.transform), self.recipe.gelu), *head.norm)
        # Padding becomes the first token once more, which changes no maximum; masking the scores would touch them all.
        first = ops.unsqueeze(self.first(x), self.axes(1))
        x = ops.select(ops.greater(ops.unsqueeze(mask, self.axes(2)), np.float32(0)), x, first)
        best = [
            ops.reduce_max(
                ops.matmul(x, self.weight(head.table[start : start + TERM_BLOCK]), False, True), self.axes(1)
            )
            for start in range(0, len(head.table), TERM_BLOCK)
        ]
        return ops.add(ops.concat(best, 1), self.weight(head.bias))

    def pooled(self, states: list[Any], mask: Any, head: PooledHead) -> Any:
        ops = self.ops
        some = states[-head.last_layers :]
        pooled = [self.first(x) if head.pooling == "cls" else self.mean(x, mask) for x in some]
        x = ops.concat(pooled, 1) if len(pooled) > 1 else pooled[0]
        for dense in head.denses:
            x = ops.matmul(x, self.weight(dense.weight), False, True)
            x = x if dense.bias is None else ops.add(x, self.weight(dense.bias))
            x = ops.tanh(x) if dense.activation == "Tanh" else x
        return ops.normalize_l2(x, self.axes(1), 1e-24, "max") if head.normalize else x

    def mean(self, x: Any, mask: Any) -> Any:
        ops = self.ops
        total = ops.reduce_sum(ops.multiply(x, ops.unsqueeze(mask, self.axes(2))), self.axes(1))
        count = ops.reduce_sum(mask, self.axes(1), keep_dims=True)
        return ops.divide(total, ops.maximum(count, np.float32(1e-9)))
