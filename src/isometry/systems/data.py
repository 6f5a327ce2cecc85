"""The one way experiments reach data: files under the folder that the caller named."""

from __future__ import annotations

from pathlib import Path

from isometry.errors import NotFound


def require(data: Path | None, *names: str, source: str = "") -> list[Path]:
    """Return the paths of files or folders under `data`, or say everything that is missing at once.

    Parameters
    ----------
    data : Path or None
        The folder given to `System.reproduce`.
    *names : str
        Paths below it, such as ``"limit/limit-small.corpus.jsonl.gz"``.
    source : str
        Where a user can get them; added to the message.

    Returns
    -------
    list of Path
        In the order of `names`.

    Raises
    ------
    NotFound
        No folder was given, or it lacks some of them.
    """
    hint = f" ({source})" if source else ""
    if data is None:
        raise NotFound(
            f"this experiment needs {', '.join(names)}{hint}; say which folder has them: data=FOLDER, --data FOLDER"
        )
    paths = [data / name for name in names]
    missing = [name for name, path in zip(names, paths, strict=True) if not path.exists()]
    if missing:
        raise NotFound(f"{data} lacks {', '.join(missing)}{hint}; the experiment needs {len(names)} in all")
    return paths
