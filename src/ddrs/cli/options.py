"""Options that several commands have, and values that are written as text."""

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Any

import typer

from ddrs.errors import ConfigurationError

__all__ = ["RADII", "Noise", "Out", "Radii", "Runs", "Seed", "named_values", "numbers"]

Out = Annotated[Path, typer.Option(metavar="DIR", help="Run directory; resumed if it is there.")]
Noise = Annotated[
    str, typer.Option(metavar="NAME", help="gaussian certifies l2 balls, uniform l1 balls.")
]
Seed = Annotated[
    int | None, typer.Option(metavar="K", help="Key of all randomness; by default a fresh one.")
]
Runs = Annotated[
    list[Path], typer.Argument(metavar="RUN_OR_LOG...", help="Run directories or logs.")
]
Radii = Annotated[str, typer.Option(metavar="R,R,...", help="Radii of the certified accuracy.")]
RADII = "0,0.25,0.5,0.75,1"


def numbers(option: str, text: str) -> tuple[float, ...]:
    """`"0,0.5"` as numbers.

    Raises:
        ConfigurationError: it is not that.
    """
    try:
        return tuple(float(number) for number in text.split(","))
    except ValueError as error:
        raise ConfigurationError(
            f"{option} takes numbers with commas between, got {text!r}"
        ) from error


def named_values(option: str, words: Sequence[str]) -> dict[str, Any]:
    """`["k=4", "attack=ddn"]` as values by name: numbers where they are numbers, else text.

    Raises:
        ConfigurationError: a word is not that.
    """
    values: dict[str, Any] = {}
    for word in words:
        name, equals, value = word.partition("=")
        if not (name and equals and value):
            raise ConfigurationError(f"{option} takes NAME=VALUE, got {word!r}")
        try:
            values[name] = json.loads(value)
        except ValueError:
            values[name] = value
    return values
