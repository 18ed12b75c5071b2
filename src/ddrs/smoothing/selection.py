"""Whose votes select the class of an input."""

from typing import Literal, get_args

from ddrs.errors import ConfigurationError

__all__ = ["Selection", "check_selection"]

Selection = Literal["first", "all"]
"""Whose votes select the class of an input: those of the first classifier, or of all together."""


def check_selection(selection: Selection, classifiers: int) -> None:
    """Raise `ConfigurationError` unless it is one that so many classifiers can make."""
    if selection not in get_args(Selection):
        raise ConfigurationError(
            f"selection must be one of {', '.join(get_args(Selection))}, got {selection!r}"
        )
    if selection == "all" and classifiers == 1:
        raise ConfigurationError(
            'selection="all" (--selection all) adds up several classifiers: give alternatives '
            "(--alternative)"
        )
