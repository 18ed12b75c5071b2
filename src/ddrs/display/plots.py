"""What every plot looks like, and how one becomes a file."""

import io
from pathlib import Path
from typing import TYPE_CHECKING

from ddrs.files import write

if TYPE_CHECKING:  # a second of every start, for a few calls: imported where it is used
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

__all__ = ["COLOURS", "INK", "STYLES", "picture", "plain", "write_figure"]

# Okabe and Ito's palette, told apart with every common colour blindness; without its yellow, which
# is too pale for a line on white. When the colours are used up, the line style changes.
COLOURS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#56B4E9", "#E69F00", "#000000")
STYLES = ("-", "--", ":", "-.")

INK = "#333333"  # of text, and of lines that belong to no run
GRID = "#DDDDDD"

DOTS_PER_INCH = 120


def write_figure(figure: "Figure", path: str | Path) -> None:
    """Write a figure as a PNG; a figure already there is replaced only by a complete one.

    Raises:
        RunError: the file cannot be written.
    """
    write(path, picture(figure), "figure")


def picture(figure: "Figure") -> bytes:
    """A figure as a PNG."""
    file = io.BytesIO()
    figure.savefig(file, format="png", dpi=DOTS_PER_INCH)
    return file.getvalue()


def plain(axes: "Axes") -> None:
    """Give a panel a light grid behind its data, and no frame above and to the right of it."""
    axes.spines[["top", "right"]].set_visible(False)
    axes.grid(color=GRID, linewidth=0.6)
    axes.set_axisbelow(True)
