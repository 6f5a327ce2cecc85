"""Find the files of a judged set: BEIR folders, and folders whose files begin with the set's name."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from isometry.errors import InvalidInput, NotFound

_QRELS_ENDINGS = (".tsv", ".tsv.gz", ".jsonl", ".jsonl.gz", ".txt", ".txt.gz")
_JSON_ENDINGS = (".jsonl", ".jsonl.gz")
_NAMES_SHOWN = 12


@dataclass(frozen=True)
class Files:
    """Where the three parts of a judged set are."""

    name: str
    corpus: Path
    queries: Path
    qrels: Path


def find_files(folder: Path, split: str | None, *, needs_corpus: bool = True) -> Files:
    """Locate corpus, queries and judgements.

    Parameters
    ----------
    folder : Path
        The set's folder, or its folder followed by the first word of its files (``limit/limit-small``).
    split : str or None
    needs_corpus : bool
        False when the documents come from elsewhere; `Files.corpus` then may not exist.

    Raises
    ------
    NotFound, InvalidInput
        A part is missing; several splits and none asked for.
    """
    home, prefix = _home(folder)
    corpus = _first(home, [f"{prefix}corpus{ending}" for ending in _JSON_ENDINGS])
    if corpus is None and needs_corpus:
        raise _missing("corpus", home, [f"{prefix}corpus.jsonl", f"{prefix}corpus.jsonl.gz"])
    return Files(
        folder.name, corpus or home / "corpus.jsonl", _queries(home, prefix, split), _qrels(home, prefix, split)
    )


def find_splits(folder: Path) -> list[str]:
    """List the splits that a judged set has judgements for, besides its plain ``qrels`` file."""
    home, prefix = _home(folder)
    return _splits(home, prefix)


def _home(folder: Path) -> tuple[Path, str]:
    """Return the real folder and what its file names begin with."""
    if folder.is_dir():
        named = f"{folder.name}."
        plain = _first(folder, [f"queries{ending}" for ending in _JSON_ENDINGS])
        prefixed = _first(folder, [f"{named}queries{ending}" for ending in _JSON_ENDINGS])
        return folder, named if plain is None and prefixed is not None else ""
    if folder.parent.is_dir() and any(folder.parent.glob(f"{_escaped(folder.name)}.queries.jsonl*")):
        return folder.parent, f"{folder.name}."
    raise NotFound(f"{folder} is not a folder; expected one with corpus.jsonl, queries.jsonl and qrels.tsv in it")


def _queries(home: Path, prefix: str, split: str | None) -> Path:
    stems = ([f"{prefix}queries_{split}"] if split else []) + [f"{prefix}queries"]
    names = [stem + ending for stem in stems for ending in _JSON_ENDINGS]
    found = _first(home, names)
    if found is None:
        raise _missing("queries", home, names)
    return found


def _qrels(home: Path, prefix: str, split: str | None) -> Path:
    splits = _splits(home, prefix)
    if split is None:
        plain = _first(home, [f"{prefix}qrels{ending}" for ending in _QRELS_ENDINGS])
        if plain is not None:
            return plain
        if "test" not in splits and len(splits) > 1:
            raise InvalidInput(f"{home} has judgements for {', '.join(splits)}; say which: split={splits[0]!r}")
        split = splits[0] if len(splits) == 1 else "test"
    names = [f"{stem}{split}{ending}" for stem in (f"qrels/{prefix}", f"{prefix}qrels_") for ending in _QRELS_ENDINGS]
    found = _first(home, names)
    if found is None:
        raise _missing("judgements", home, names[:: len(_QRELS_ENDINGS)], splits)
    return found


def _splits(home: Path, prefix: str) -> list[str]:
    found = set()
    for start, files in ((prefix, (home / "qrels").glob("*")), (f"{prefix}qrels_", home.glob("*"))):
        for file in files:
            ending = next((e for e in sorted(_QRELS_ENDINGS, key=len, reverse=True) if file.name.endswith(e)), None)
            if ending and file.name.startswith(start):
                found.add(file.name[len(start) : -len(ending)])
    return sorted(found)


def _first(home: Path, names: list[str]) -> Path | None:
    return next((home / name for name in names if (home / name).is_file()), None)


def _missing(what: str, home: Path, names: list[str], splits: list[str] | None = None) -> NotFound:
    present = sorted(file.name for file in home.iterdir())
    shown = ", ".join(present[:_NAMES_SHOWN]) + (" ..." if len(present) > _NAMES_SHOWN else "")
    known = f"; splits: {', '.join(splits)}" if splits else ""
    return NotFound(f"no {what} in {home}: looked for {', '.join(names)}; the folder holds {shown or 'nothing'}{known}")


def _escaped(name: str) -> str:
    return "".join(f"[{letter}]" if letter in "*?[" else letter for letter in name)
