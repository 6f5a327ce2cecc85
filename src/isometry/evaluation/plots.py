"""Pictures of results."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from isometry.errors import MissingExtra

if TYPE_CHECKING:
    from isometry.evaluation.result import Plot, Result


def draw(plot: Plot, path: str | Path) -> Path:
    """Draw the curves of `plot` into a picture file.

    Parameters
    ----------
    plot : Plot
    path : path
        Ending in ``.png``, ``.svg`` or ``.pdf``; overwritten.

    Raises
    ------
    MissingExtra
        matplotlib is not installed.
    """
    try:
        from matplotlib.backends.backend_agg import FigureCanvasAgg
        from matplotlib.figure import Figure
    except ImportError as error:
        raise MissingExtra("plot", "drawing a result", "matplotlib") from error
    # A figure of its own, without pyplot: no global state, no window, safe in threads.
    figure = Figure(figsize=(7, 4.5), layout="constrained")
    FigureCanvasAgg(figure)
    axes = figure.add_subplot()
    for label, points in plot.curves.items():
        x, y = zip(*points, strict=True)
        axes.plot(x, y, marker="o", markersize=4, label=label)
    axes.set(title=plot.title, xlabel=plot.x_label, ylabel=plot.y_label)
    axes.set(xscale="log" if plot.log_x else "linear", yscale="log" if plot.log_y else "linear")
    axes.grid(alpha=0.3)
    axes.legend()
    figure.savefig(path, dpi=150)
    return Path(path)


def draw_all(result: Result, folder: str | Path) -> list[Path]:
    """Draw every plot of a result as ``<folder>/<result>-<plot>.png``; the docs show those beside its JSON file."""
    home = Path(folder)
    home.mkdir(parents=True, exist_ok=True)
    return [draw(plot, home / picture_name(result, plot)) for plot in result.plots]


def picture_name(result: Result, plot: Plot) -> str:
    """Return the file name of a plot's picture."""
    return f"{result.name}-{plot.name}.png"
