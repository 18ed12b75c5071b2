"""How the words of a command are read: no value may be empty, and an option stands there once."""

import re
from collections.abc import Iterator
from typing import Any

import typer
from typer.core import TyperCommand

from ddrs.files import LIKE_URL, is_like_url

__all__ = ["Command", "UsageError", "without_url"]

# typer names one kind of it; the others have the same base.
UsageError: Any = typer.BadParameter.__base__

_A_URL = "it looks like a URL, and no URL is taken here; it is not repeated, as it may be secret"
_FROM_URL = re.compile(rf"\S*?{LIKE_URL}.*", re.IGNORECASE | re.DOTALL)


class Command(TyperCommand):
    """A command that refuses an empty value, an option that overrides itself, a misplaced URL."""

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        """See `click.Command.parse_args`.

        Raises:
            UsageError: a word is wrong.
        """
        if not ctx.resilient_parsing:
            values, _, order = self.make_parser(ctx).parse_args(args=list(args))
            parameter: Any  # an option or an argument
            for number, parameter in enumerate(order):
                again = parameter in order[:number] and not parameter.is_eager
                if again and not getattr(parameter, "multiple", True):
                    raise typer.BadParameter("it is given twice", ctx=ctx, param=parameter)
                if not all(word.strip() for word in _words(values.get(parameter.name))):
                    raise typer.BadParameter("it is empty", ctx=ctx, param=parameter)
                takes_url = "URL" in (parameter.metavar or "")
                if not takes_url and any(map(is_like_url, _words(values.get(parameter.name)))):
                    raise typer.BadParameter(_A_URL, ctx=ctx, param=parameter)
        rest: list[str] = super().parse_args(ctx, args)
        return rest


def without_url(message: str) -> str:
    """A message of the parser, which repeats words, without a URL and what follows it."""
    return _FROM_URL.sub("a URL, which is not repeated here", message)


def _words(value: object) -> Iterator[str]:
    if isinstance(value, str):
        yield value
    elif isinstance(value, list | tuple):
        for each in value:
            yield from _words(each)
