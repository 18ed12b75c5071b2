"""From JSON to a dataclass, by the types of its fields: a file is believed only where it fits."""

from collections.abc import Mapping, Sequence
from dataclasses import MISSING, fields, is_dataclass
from types import NoneType, UnionType
from typing import Any, Literal, TypeVar, Union, get_args, get_origin, get_type_hints

__all__ = ["decode"]

T = TypeVar("T")


def decode(cls: type[T], data: object) -> T:
    """The dataclass that a JSON object describes.

    Its keys are the names of the fields. One that is missing takes the default of its field; one
    that is of no field is left aside, as a later version may have added it. Lists become tuples.

    Args:
        cls: a dataclass whose fields are of plain types, of tuples and mappings of them, or of
            dataclasses like it.
        data: what `json.loads` returned.

    Raises:
        TypeError, ValueError: the value of a key does not fit its field, or one is missing.
    """
    if not isinstance(data, Mapping):
        raise TypeError(f"{data!r} is not a JSON object")
    hints = get_type_hints(cls)
    values = {}
    for field in fields(cls):  # type: ignore[arg-type]
        if field.name in data:
            try:
                values[field.name] = _value(hints[field.name], data[field.name])
            except (TypeError, ValueError) as error:
                raise ValueError(f"{field.name}: {error}") from error
        elif field.default is MISSING and field.default_factory is MISSING:
            raise ValueError(f"{field.name} is missing")
    return cls(**values)


def _value(kind: Any, value: Any) -> Any:
    """The value in the type that an annotation asks for."""
    origin, parts = get_origin(kind), get_args(kind)
    if kind is Any:
        return value
    if type(value) is kind:
        return value
    if is_dataclass(kind) and isinstance(kind, type):
        return decode(kind, value)
    if origin in (Union, UnionType):
        return _first_that_fits(parts, value)
    if origin is Literal and value in parts:
        return value
    if origin in (tuple, Sequence) and isinstance(value, list | tuple):
        alike = origin is Sequence or parts[-1] is Ellipsis
        kinds = parts[:1] * len(value) if alike else parts
        return tuple(_value(one, item) for one, item in zip(kinds, value, strict=True))
    if origin in (dict, Mapping) and isinstance(value, Mapping):
        return {_value(parts[0], key): _value(parts[1], item) for key, item in value.items()}
    if kind is float and type(value) is int:
        try:
            return float(value)
        except OverflowError:
            raise ValueError("it is a number beyond all floats") from None
    raise TypeError(f"{value!r} is not of type {kind if origin else kind.__name__}")


def _first_that_fits(kinds: tuple[Any, ...], value: Any) -> Any:
    """The value in the first of several types that it fits; where none, what is wrong with that."""
    faults: list[Exception] = []
    for kind in kinds:
        try:
            return None if kind is NoneType and value is None else _value(kind, value)
        except (TypeError, ValueError) as error:
            faults.append(error)
    raise faults[0]
