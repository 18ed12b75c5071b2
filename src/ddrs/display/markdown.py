"""The one aligned table: Markdown that reads as well in a terminal as on a page."""

from collections.abc import Iterable, Sequence

from ddrs.display.foreign import markdown_text

__all__ = ["table"]

NARROWEST = 2  # of a column: its rule needs a colon and a dash


def table(header: Sequence[str], rows: Iterable[Iterable[str]], *, left: int = 1) -> str:
    r"""A Markdown table whose columns line up as plain text too, never folded.

        | run    | inputs |   ACR |
        | :----- | -----: | ----: |
        | fixed  |    360 | 0.412 |
        | search |    360 | 0.500 |

    Args:
        header: the name of each column.
        rows: the cells of each line, as many as there are columns. Any text will do, a stranger's
            too (`markdown_text`): it is one line and ends no column.
        left: how many columns, from the first, hold words and are set flush left; the others hold
            numbers and are set flush right.

    Returns:
        The lines, without a final newline; only the header and its rule where there are no rows.

    Raises:
        ValueError: a row whose number of cells is not that of the columns.
    """
    lines = [[markdown_text(text) for text in row] for row in (header, *rows)]
    widths = [max(NARROWEST, *map(len, column)) for column in zip(*lines, strict=True)]
    rule = [
        f":{'-' * (width - 1)}" if number < left else f"{'-' * (width - 1)}:"
        for number, width in enumerate(widths)
    ]
    return "\n".join(_line(cells, widths, left) for cells in (lines[0], rule, *lines[1:]))


def _line(cells: Sequence[str], widths: Sequence[int], left: int) -> str:
    padded = [
        cell.ljust(width) if number < left else cell.rjust(width)
        for number, (cell, width) in enumerate(zip(cells, widths, strict=True))
    ]
    return f"| {' | '.join(padded)} |"
