"""Tables and lists in Markdown."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from io import StringIO

from rich import box
from rich.console import Console
from rich.table import Table


def aligned(names: Sequence[str], lines: Iterable[Sequence[str]], *, left: int) -> str:
    """An aligned table; the first `left` columns are texts."""
    table = Table(box=box.MARKDOWN)
    for number, name in enumerate(names):
        table.add_column(name, justify="left" if number < left else "right", no_wrap=True)
    for line in lines:
        table.add_row(*line)
    text = StringIO()
    Console(file=text, width=2000, markup=False, emoji=False).print(table)
    return "\n".join(line.strip() for line in text.getvalue().strip().splitlines())


def bullets(notes: Iterable[str]) -> str:
    """What is said below a table."""
    return "\n\n" + "\n".join(f"- {note}" for note in notes)
