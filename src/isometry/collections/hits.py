"""The answer to a search: ids, scores, and the rows behind them."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass
from html import escape
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

if TYPE_CHECKING:
    import pyarrow as pa

    from isometry.collections.explaining import TermMatch, TokenMatch
    from isometry.indexes.filtering import FilterPlan

__all__ = ["Hit", "Hits"]

_CELL = 80


@dataclass(frozen=True)
class Hit:
    """One document of an answer.

    Attributes
    ----------
    id : str
    score : float
        Higher is better; its scale depends on the mode.
    row : dict
        All attributes of the document, as they were when the search ran.
    passage : str or None
        The part of the text that matched best, when vectors were searched and the text has several passages.
    """

    id: str
    score: float
    row: dict[str, Any]
    passage: str | None = None


class Hits:
    """The best documents for one query, best first.

    Rows are read from disk when first asked for, from the version that was searched; ids and scores are at hand.

    Attributes
    ----------
    ids : list of str
    scores : (n,) float32
        Higher is better.
    mode : str
        How the search was done: ``"dense"``, ``"sparse"``, ``"multi"``, ``"lexical"`` or ``"hybrid"``.
    plan : FilterPlan or None
        How vectors were searched among the documents that match ``where=``, and why; where ``explain=True`` asked.
    mapped : str or None
        Says so where the encoder changes and the query went through a map (see `Collection.migrate`): then what is
        found is less exact.
    """

    def __init__(
        self,
        ids: list[str],
        scores: NDArray[np.float32],
        mode: str,
        fetch_rows: Callable[[], pa.Table],
        fetch_passages: Callable[[], list[str | None]],
        fetch_terms: Callable[[], list[list[TermMatch]]],
        fetch_tokens: Callable[[], list[list[TokenMatch]]],
        plan: FilterPlan | None = None,
        mapped: str | None = None,
    ) -> None:
        self.ids = ids
        self.scores = scores
        self.mode = mode
        self.plan = plan
        self.mapped = mapped
        self._fetch_rows = fetch_rows
        self._fetch_passages = fetch_passages
        self._fetch_terms = fetch_terms
        self._fetch_tokens = fetch_tokens
        self._rows: pa.Table | None = None
        self._passages: list[str | None] | None = None
        self._terms: list[list[TermMatch]] | None = None
        self._tokens: list[list[TokenMatch]] | None = None

    @property
    def rows(self) -> pa.Table:
        """The documents' attributes, one row per hit."""
        if self._rows is None:
            self._rows = self._fetch_rows()
        return self._rows

    @property
    def passages(self) -> list[str | None]:
        """For each hit the passage that matched best; None where the whole text is one passage."""
        if self._passages is None:
            self._passages = self._fetch_passages()
        return self._passages

    @property
    def terms(self) -> list[list[TermMatch]]:
        """For each hit the terms that it shares with the query, those that count most first; none in dense search.

        They say why a document was found: the products of a list's terms add up to the score in that list, up to the
        precision in which its index holds weights.
        """
        if self._terms is None:
            self._terms = self._fetch_terms()
        return self._terms

    @property
    def tokens(self) -> list[list[TokenMatch]]:
        """For each hit which of its tokens answers each token of the query; none unless token vectors were searched.

        Found in the tokens as they are stored: similarities add up to the score in that list, up to the precision in
        which its index holds tokens. Tokens are named where the query was a text and the encoder can tell them.
        """
        if self._tokens is None:
            self._tokens = self._fetch_tokens()
        return self._tokens

    def __len__(self) -> int:
        return len(self.ids)

    def __getitem__(self, rank: int) -> Hit:
        rank = range(len(self))[rank]
        row = self.rows.slice(rank, 1).to_pylist()[0]
        return Hit(self.ids[rank], float(self.scores[rank]), row, self.passages[rank])

    def __iter__(self) -> Iterator[Hit]:
        rows = self.rows.to_pylist()
        for found in zip(self.ids, self.scores.tolist(), rows, self.passages, strict=True):
            yield Hit(*found)

    def to_arrow(self) -> pa.Table:
        """Return the hits as a table: ``_score`` first, then the attributes."""
        import pyarrow as pa

        return self.rows.add_column(0, pa.field("_score", pa.float32()), pa.array(self.scores, pa.float32()))

    def to_pandas(self) -> Any:
        """Return the hits as a pandas DataFrame (needs pandas)."""
        return self.to_arrow().to_pandas()

    def to_dict(self, *, explain: bool = False) -> dict[str, Any]:
        """Return mode and hits as plain Python values; with `explain` also `terms`, `tokens` and `plan`."""
        hits: list[dict[str, Any]] = [
            {"id": hit.id, "score": hit.score, "passage": hit.passage, "row": hit.row} for hit in self
        ]
        if explain:
            for hit, terms, tokens in zip(hits, self.terms, self.tokens, strict=True):
                hit["terms"] = [{**asdict(term), "product": term.product} for term in terms]
                hit["tokens"] = [asdict(token) for token in tokens]
        found: dict[str, Any] = {"mode": self.mode, "hits": hits}
        if self.mapped is not None:
            found["mapped"] = self.mapped
        if explain and self.plan is not None:
            found["plan"] = self.plan.to_dict()
        return found

    def __repr__(self) -> str:
        best = ", ".join(f"{i!r}: {s:.4g}" for i, s in zip(self.ids[:3], self.scores[:3].tolist(), strict=True))
        return f"Hits({len(self)} {self.mode}{': ' + best if best else ''}{', ...' if len(self) > 3 else ''})"

    def __rich__(self) -> Any:
        from rich.table import Table
        from rich.text import Text

        table = Table(title=f"{len(self)} hits ({self.mode})", title_justify="left")
        columns = _columns(self.rows)
        for name in ("score", *columns):
            table.add_column(name, overflow="fold", justify="right" if name == "score" else "left")
        for hit in self:
            table.add_row(f"{hit.score:.4f}", *(Text(_cell(hit.row[name])) for name in columns))
        return table

    def _repr_html_(self) -> str:
        columns = _columns(self.rows)
        head = "".join(f"<th>{escape(name)}</th>" for name in ("score", *columns))
        body = "".join(
            f"<tr><td>{hit.score:.4f}</td>"
            + "".join(f"<td>{escape(_cell(hit.row[name]))}</td>" for name in columns)
            + "</tr>"
            for hit in self
        )
        return f"<table><caption>{len(self)} hits ({self.mode})</caption><tr>{head}</tr>{body}</table>"


def _columns(rows: pa.Table, most: int = 6) -> list[str]:
    """Return the columns worth a reader's eye: those with a value, the id first."""
    filled = [name for name in rows.column_names if rows[name].null_count < len(rows)]
    return sorted(filled, key=lambda name: name != "id")[:most]


def _cell(value: Any) -> str:
    text = "" if value is None else ", ".join(map(str, value)) if isinstance(value, list) else str(value)
    text = " ".join(text.split())
    return text if len(text) <= _CELL else text[: _CELL - 1] + "…"
