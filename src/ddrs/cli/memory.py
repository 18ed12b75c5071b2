"""`ddrs memory`: look into a memory, write it to a file, make one from a file.

A command imports what it needs when it runs: its help text does not load a database.
"""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from ddrs.cli.parsing import Command
from ddrs.cli.terminal import say, say_lines
from ddrs.errors import ConfigurationError

if TYPE_CHECKING:
    from ddrs.memory.transfer import Export

__all__ = ["app"]

app = typer.Typer(
    no_args_is_help=True, rich_markup_mode="rich", help="Look into a memory, export and import it."
)

Url = Annotated[
    str, typer.Argument(metavar="URL", help="sqlite:///FILE or postgresql://USER@HOST/DATABASE.")
]


@app.command(cls=Command, epilog="Example:  ddrs memory stats sqlite:///memory.db")
def stats(url: Url) -> None:
    """Entries by class, their radii, what trimming and inheriting cost, and the head to note."""
    from ddrs.cli.tables import statistics_table
    from ddrs.display.progress import ProgressBar
    from ddrs.memory.memory import Memory
    from ddrs.memory.statistics import statistics
    from ddrs.memory.store.urls import shown_url

    with (
        Memory(url, norm=None, read_only=True) as memory,
        ProgressBar("read", len(memory), "entries") as bar,
    ):
        found = statistics(memory, bar.advance)
    say(shown_url(url))
    say_lines(f"\n{statistics_table(found)}")


@app.command(
    cls=Command, epilog="Example:  ddrs memory export sqlite:///memory.db --out memory.parquet"
)
def export(
    url: Url,
    out: Annotated[
        Path, typer.Option(metavar="FILE", help="A new parquet file; none is overwritten.")
    ],
) -> None:
    """Write every entry, with its input and the claim it was made from, to a parquet file."""
    from ddrs.display.progress import ProgressBar
    from ddrs.memory.memory import Memory
    from ddrs.memory.transfer import export_entries

    with (
        Memory(url, norm=None, read_only=True) as memory,
        ProgressBar("export", len(memory), "entries") as bar,
    ):
        made = export_entries(memory, out, bar.advance)
    say(f"{out}: {_content(made)}")


@app.command(
    "import", cls=Command, epilog="Example:  ddrs memory import m.parquet --memory sqlite:///new.db"
)
def import_(
    file: Annotated[Path, typer.Argument(metavar="FILE", help="A file of `ddrs memory export`.")],
    memory: Annotated[
        str, typer.Option(metavar="URL", help="An empty memory; made if it is not there.")
    ],
) -> None:
    """Make every claim of an export again, in order, and see that each answer is the same."""
    from ddrs.display.progress import ProgressBar
    from ddrs.memory.memory import Memory
    from ddrs.memory.store.sqlite import unmade_on_error
    from ddrs.memory.store.urls import parse_url, shown_url
    from ddrs.memory.transfer import fill, open_export, rehearse

    parsed = parse_url(memory)
    if parsed.drivername == "memory":
        raise ConfigurationError("a memory:// would be gone at once: give a URL that stays")
    export, shown = open_export(file), shown_url(memory)
    with ProgressBar("import", 2 * export.head.count, "entries") as bar:
        rehearse(export, bar.advance)  # before a memory is made: one that fails leaves none
        path = parsed.database if parsed.drivername == "sqlite" else None
        with unmade_on_error(path), Memory(memory, export.norm) as opened:
            fill(export, opened, bar.advance)
    say(f"{shown}: {_content(export)}")


def _content(export: "Export") -> str:
    found = f"{export.head.count} entries"
    abstained = export.abstentions.count
    return f"{found}, {abstained} abstentions" if abstained else found
