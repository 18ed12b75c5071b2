"""Options of commands, made from the fields of the dataclasses that they fill.

A field describes its option: type and default are the field's, and its `metadata` holds

- `help`: what the option says; a field without it has no option, and a text with "Default:" in it
  says itself what the default is,
- `metavar`: the word for its value, unless that is one of a few,
- `flag`: its name, where that is not the field's,
- `panel`: the heading that it stands under.

A field that holds another dataclass or None is a switch, and the options of that dataclass are of
use only with it. Several numbers are one option with commas between; several texts are one option
each.
"""

import inspect
import json
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import MISSING, Field, dataclass, fields, is_dataclass
from pathlib import Path
from types import NoneType, UnionType
from typing import Annotated, Any, Literal, TypeVar, Union, get_args, get_origin, get_type_hints

import typer

from ddrs.errors import ConfigurationError

__all__ = [
    "RADII",
    "Option",
    "Out",
    "Radii",
    "Runs",
    "given_options",
    "named_values",
    "numbers",
    "options_of",
    "read_options",
    "takes",
]


Out = Annotated[Path, typer.Option(metavar="DIR", help="Run directory; resumed if it is there.")]
Runs = Annotated[
    list[Path], typer.Argument(metavar="RUN_OR_LOG...", help="Run directories or logs.")
]
Radii = Annotated[str, typer.Option(metavar="R,R,...", help="Radii of the certified accuracy.")]
LARGEST = 2**63 - 1
RADII = "0,0.25,0.5,0.75,1"

Command = TypeVar("Command", bound=Callable[..., None])


@dataclass(frozen=True)
class Option:
    """The option that fills a field of a dataclass.

    Attributes:
        field: what it fills.
        type: the type of its value; None, and words such as "auto", are what it is without the
            option.
        required: whether the command cannot do without it.
        panel: the heading that it stands under; None for the first one.
    """

    field: Field[Any]
    type: Any
    required: bool
    panel: str | None = None

    @property
    def flag(self) -> str:
        """How it is written: `--n0`, or `--augment/--no-augment`."""
        return str(self.field.metadata.get("flag", f"--{self.field.name.replace('_', '-')}"))

    @property
    def name(self) -> str:
        """The command's parameter; no two options of a command have the same."""
        return self.flag.partition("/")[0].strip("-").replace("-", "_")

    @property
    def switched(self) -> Any:
        """The dataclass that fills the field where the option is a switch; None for any other."""
        return self.type if is_dataclass(self.type) else None

    @property
    def parameter(self) -> inspect.Parameter:
        """The command's parameter as typer reads it."""
        about, default, shown = self.field.metadata, self.field.default, self.type
        if self.switched:
            shown, default = bool, False
        elif self._element is not None:
            shown, default = (list[str] if self._element is str else str), None
        elif get_origin(shown) is not Literal and not isinstance(default, shown):
            default = None
        if self.required:
            default = inspect.Parameter.empty
        elif default is None:
            shown = shown | None
        option = typer.Option(
            self.flag,
            metavar=about.get("metavar"),
            help=about["help"],
            show_default="Default:" not in about["help"],
            rich_help_panel=self.panel,
        )
        return inspect.Parameter(
            self.name,
            inspect.Parameter.KEYWORD_ONLY,
            default=default,
            annotation=Annotated[shown, option],
        )

    def read(self, value: Any) -> Any:
        """The value of the field, of what typer read.

        Raises:
            ConfigurationError: it is not of the field's type.
        """
        if get_origin(self.type) is Mapping:
            return named_values(self.flag, value)
        if self._element is str:
            return tuple(value)
        if self._element is None:
            return self._fitting(value)
        found = numbers(self.flag, value)
        if self._element is float:
            return found
        if not all(number.is_integer() for number in found):
            raise ConfigurationError(f"{self.flag} takes whole numbers, got {value!r}")
        return tuple(map(int, found))

    def _fitting(self, value: Any) -> Any:
        """A value, unless it is a whole number that no tensor could hold."""
        if isinstance(value, int) and abs(value) > LARGEST:
            raise ConfigurationError(f"{self.flag} takes no number as large as this: {value}")
        return value

    @property
    def _element(self) -> Any:
        """The type of each of several values; None where there is one."""
        several = get_origin(self.type) in (tuple, Sequence, Mapping)
        return get_args(self.type)[0] if several else None


def options_of(kind: type, panel: str | None = None) -> Iterator[Option]:
    """The options that fill a dataclass, in the order of its fields.

    Args:
        kind: the dataclass.
        panel: a heading for those that name none.
    """
    for option in _own_options(kind, panel):
        yield option
        if option.switched:
            yield from options_of(option.switched, option.panel)


def read_options(kind: type, given: Mapping[str, Any]) -> dict[str, Any]:
    """The fields of a dataclass that the options on the command line fill.

    Args:
        kind: the dataclass.
        given: what `given_options` returned.

    Raises:
        ConfigurationError: a value is not of the field's type, or an option stands there without
            the switch that it belongs to.
    """
    values: dict[str, Any] = {}
    for option in _own_options(kind):
        if option.switched:
            fields_given = read_options(option.switched, given)
            if option.name in given:
                values[option.field.name] = option.switched(**fields_given)
            elif fields_given:
                inner = next(each for each in options_of(option.switched) if each.name in given)
                raise ConfigurationError(
                    f"{inner.flag} is an option of {option.flag}: add {option.flag}"
                )
        elif option.name in given:
            values[option.field.name] = option.read(given[option.name])
    return values


def takes(options: Iterable[Option]) -> Callable[[Command], Command]:
    """Give a command options beside its own parameters; it gets them as keywords."""

    def add(command: Command) -> Command:
        own = inspect.signature(command).parameters.values()
        parameters = [
            *(option.parameter for option in options),
            *(p.replace(kind=p.KEYWORD_ONLY) for p in own if p.kind is not p.VAR_KEYWORD),
        ]
        parameters.sort(key=lambda parameter: parameter.default is not parameter.empty)
        command.__signature__ = inspect.Signature(parameters)  # type: ignore[attr-defined]
        command.__annotations__ = {each.name: each.annotation for each in parameters}
        return command

    return add


def given_options(context: typer.Context, values: Mapping[str, Any]) -> dict[str, Any]:
    """Those of a command's options that stand on the command line; the others are defaults."""
    sources = {name: context.get_parameter_source(name) for name in values}
    return {
        name: value
        for name, value in values.items()
        if (source := sources[name]) is not None and source.name != "DEFAULT"
    }


def _own_options(kind: type, panel: str | None = None) -> Iterator[Option]:
    types = get_type_hints(kind)
    for field in fields(kind):
        if "help" in field.metadata:
            required = field.default is MISSING and field.default_factory is MISSING
            heading = field.metadata.get("panel", panel)
            yield Option(field, _value_type(types[field.name]), required, heading)


def _value_type(annotation: Any) -> Any:
    """A field's type without None, and without the words that stand beside another type."""
    if get_origin(annotation) not in (Union, UnionType):
        return annotation
    types = [each for each in get_args(annotation) if each is not NoneType]
    return next((each for each in types if get_origin(each) is not Literal), types[0])


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
        if name in values:
            raise ConfigurationError(f"{option} takes {name} once, got {word!r} too")
        try:
            values[name] = json.loads(value)
        except (ValueError, RecursionError):
            values[name] = value
        if isinstance(values[name], int) and abs(values[name]) > LARGEST:
            raise ConfigurationError(f"{option} takes no number as large as this: {word}")
    return values
