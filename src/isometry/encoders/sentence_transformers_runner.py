"""Runs any sentence-transformers v6 model (dense, sparse, multi-vector) through its own methods, in torch."""

from __future__ import annotations

from contextlib import nullcontext
from typing import TYPE_CHECKING, Any, cast

import numpy as np

from isometry.encoders.fingerprints import effective_prompts
from isometry.encoders.resolving import KINDS
from isometry.encoders.tokens import PseudoTokens, Tokens
from isometry.vectors import as_dense, as_multi, as_sparse

if TYPE_CHECKING:
    from contextlib import AbstractContextManager

    from numpy.typing import NDArray

    from isometry.encoders.base import Kind, Role
    from isometry.vectors import Vectors

UNBOUNDED = 1 << 20
CPU_BATCH = 2048
GPU_BATCH = 1 << 16


class SentenceTransformersRunner:
    """Calls ``encode_query`` and ``encode_document`` of a sentence-transformers model on prepared batches.

    Parameters
    ----------
    model : SentenceTransformer, SparseEncoder or MultiVectorEncoder
        Not changed.
    bfloat16 : bool
        Whether to compute matrix products in bfloat16 (`torch.autocast`); weights and results stay float32.
    """

    def __init__(self, model: Any, *, bfloat16: bool = False) -> None:
        self._model = model
        self.batch_tokens = CPU_BATCH if model.device.type == "cpu" else GPU_BATCH
        self._bfloat16 = bfloat16
        self.kind = kind_of(model)
        self.dim = dim_of(model)
        length = model.max_seq_length
        self.max_tokens = int(length) if length is not None and length < UNBOUNDED else UNBOUNDED
        self.engine = f"torch {'bfloat16' if bfloat16 else 'float32'} ({model.device.type})"
        backend = getattr(model.tokenizer, "backend_tokenizer", model.tokenizer)
        self.tokens = (
            Tokens(backend.to_str(), self.max_tokens) if hasattr(backend, "to_str") else PseudoTokens(self.max_tokens)
        )
        self.document_prompt = effective_prompts(model.prompts)["document"]

    def prepare(self, texts: list[str], role: Role) -> tuple[list[str], NDArray[np.int64]]:
        """Return the texts, cut where the model would stop reading, and their lengths estimated from characters."""
        heads = [self.tokens.head(text) for text in texts]
        lengths = np.fromiter((min(self.max_tokens, 2 + len(head) // 4) for head in heads), np.int64, len(heads))
        return heads, lengths

    def run(self, items: list[str], role: Role) -> Vectors:
        """Encode one batch."""
        encode = self._model.encode_query if role == "query" else self._model.encode_document
        options = {"convert_to_tensor": True} if self.kind == "sparse" else {"convert_to_numpy": True}
        with self._precision():
            out = encode(items, batch_size=len(items), show_progress_bar=False, **options)
        if self.kind == "sparse":
            return as_sparse(_csr(out), dim=self.dim, name="the model's output")
        return (as_dense if self.kind == "dense" else as_multi)(out, dim=self.dim, name="the model's output")

    def token_strings(self, texts: list[str], role: Role) -> list[list[str]] | None:
        """Return the tokens that have a vector each, those of the prompt and of an expansion among them."""
        if isinstance(self.tokens, PseudoTokens) or not texts:
            return None if texts else []
        heads = [self.tokens.head(text) for text in texts]
        features = self._model.preprocess(heads, prompt=effective_prompts(self._model.prompts)[role] or None, task=role)
        for module in self._model:
            if type(module).__name__ == "MultiVectorMask":
                features = module(features, task=role)
        kept = features["attention_mask"].bool()
        spell = self._model.tokenizer.convert_ids_to_tokens
        return [spell(ids[mask].tolist()) for ids, mask in zip(features["input_ids"], kept, strict=True)]

    def _precision(self) -> AbstractContextManager[Any]:
        if not self._bfloat16:
            return nullcontext()
        import torch

        return cast("AbstractContextManager[Any]", torch.autocast(self._model.device.type, dtype=torch.bfloat16))


def kind_of(model: Any) -> Kind:
    """Return the kind of vectors that a sentence-transformers model makes."""
    return next(KINDS[base.__name__] for base in type(model).__mro__ if base.__name__ in KINDS)


def dim_of(model: Any) -> int:
    """Return the number of dimensions of a model's vectors.

    A sparse model is asked for one vector, as some (SPLADE over an own head) declare their hidden size instead of the
    size of their vocabulary.
    """
    if kind_of(model) == "sparse":
        return int(model.encode_document(["isometry"], show_progress_bar=False, convert_to_tensor=True).shape[1])
    return int(model.get_embedding_dimension())


def top_terms_of(model: Any) -> int | None:
    """Return how many terms of a text a sparse model keeps; None where it keeps all, or is not sparse."""
    return getattr(model, "max_active_dims", None)


def is_sentence_transformers(model: Any) -> bool:
    """Whether `model` is one of sentence-transformers' three embedding classes; answers without importing it."""
    return any(
        base.__name__ in KINDS and base.__module__.startswith("sentence_transformers.") for base in type(model).__mro__
    )


def torch_cpu_has_bfloat16(model: Any) -> bool:
    """Whether `model` sits on a CPU that multiplies bfloat16 natively."""
    import torch

    capable = torch.cpu.get_capabilities()
    return model.device.type == "cpu" and bool(capable.get("avx512_bf16") or capable.get("amx_bf16"))


def _csr(tensor: Any) -> Any:
    from scipy.sparse import coo_array

    tensor = tensor.coalesce().cpu()
    rows, columns = tensor.indices().numpy()
    return coo_array((tensor.values().float().numpy(), (rows, columns)), shape=tuple(tensor.shape)).tocsr()
