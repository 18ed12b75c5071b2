"""The one way for text to a terminal: nothing in it moves the cursor, hides a line or is a link."""

import sys

import typer

from ddrs.display.foreign import LONGEST_LINE, visible

__all__ = ["say", "say_lines"]


def say(line: str, *, error: bool = False) -> None:
    """Print one line, whatever the text; of a very long one the middle is left out.

    Args:
        line: any text, also a stranger's.
        error: on standard error.
    """
    _print(visible(line, LONGEST_LINE), error)


def say_lines(text: str, *, error: bool = False) -> None:
    """Print the lines of a table or a report, however long, whose own texts are one line each."""
    for line in text.split("\n"):
        _print(visible(line, None), error)


def _print(line: str, error: bool) -> None:
    stream = sys.stderr if error else sys.stdout
    if stream is None:  # it was closed before the process began
        return
    encoding = stream.encoding or "utf-8"
    typer.echo(line.encode(encoding, "backslashreplace").decode(encoding), err=error)
