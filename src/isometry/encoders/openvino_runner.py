"""Runs BERT-like encoders in OpenVINO on the CPU: no torch, half a second from nothing to the first vector."""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING, Any

import numpy as np

from isometry.encoders.bert_graph import build_graph
from isometry.encoders.openvino_import import import_openvino
from isometry.encoders.terms import damped
from isometry.encoders.tokens import Tokens
from isometry.vectors import as_dense

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from isometry.encoders.base import Role
    from isometry.encoders.bert_recipe import BertRecipe
    from isometry.vectors import Vectors

HINTS = {"float32": "f32", "bfloat16": "bf16"}


class OpenVINORunner:
    """Tokenises with `tokenizers` and runs padded batches through a compiled graph.

    Parameters
    ----------
    recipe : BertRecipe
    precision : {"float32", "bfloat16"}
        Of the matrix products; sums, norms and the result are float32.
    threads : int, optional
        Threads of the graph; as many as there are cores by default.
    """

    # Fastest of 1k to 8k on short and long texts: the activations of a batch stay in the second-level cache.
    batch_tokens = 2048

    def __init__(self, recipe: BertRecipe, precision: str, threads: int | None = None) -> None:
        options: dict[str, Any] = {"INFERENCE_PRECISION_HINT": HINTS[precision], "PERFORMANCE_HINT": "LATENCY"}
        if threads is not None:
            options["INFERENCE_NUM_THREADS"] = threads
        self._compiled = _core().compile_model(build_graph(recipe), "CPU", options)
        self._local = threading.local()
        self._prompts = recipe.prompts
        self.kind = recipe.kind
        self.dim = recipe.dim
        self.max_tokens = recipe.max_tokens
        self.engine = f"openvino {precision}"
        self.tokens = Tokens(recipe.tokenizer, recipe.max_tokens)
        self.document_prompt = recipe.prompts["document"]

    def prepare(self, texts: list[str], role: Role) -> tuple[list[list[int]], NDArray[np.int64]]:
        """Return token ids, prompt included, and their numbers."""
        prompt = self._prompts[role]
        ids = self.tokens.ids([prompt + text for text in texts] if prompt else texts)
        return ids, np.fromiter(map(len, ids), np.int64, len(ids))

    def run(self, items: list[list[int]], role: Role) -> Vectors:
        """Pad and run one batch."""
        ids = np.zeros((len(items), max(1, *map(len, items))), np.int32)
        mask = np.zeros(ids.shape, np.float32)
        for row, item in enumerate(items):
            ids[row, : len(item)] = item
            mask[row, : len(item)] = 1
        request = self._request()
        request.infer([ids, mask], share_inputs=True)
        out = request.get_output_tensor(0).data
        if self.kind == "sparse":
            return damped(as_dense(out, dim=self.dim, name="the model's output"))
        return as_dense(out.copy(), dim=self.dim, name="the model's output")

    def _request(self) -> Any:
        # A request holds the buffers of one inference, so each thread needs its own.
        if not hasattr(self._local, "request"):
            self._local.request = self._compiled.create_infer_request()
        return self._local.request


def cpu_has_bfloat16() -> bool:
    """Whether this CPU multiplies bfloat16 natively; elsewhere it would be emulated and slow."""
    return "BF16" in _core().get_property("CPU", "OPTIMIZATION_CAPABILITIES")


def _core() -> Any:
    return import_openvino().Core()
