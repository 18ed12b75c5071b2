"""From JSON to a dataclass, by the types of its fields: a file is believed only where it fits."""

from collections.abc import Mapping
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
                raise type(error)(f"{field.name}: {error}") from error
        elif field.default is MISSING and field.default_factory is MISSING:
            raise ValueError(f"{field.name} is missing")
    return cls(**values)


def _value(kind: Any, value: Any) -> Any:
    origin, parts = get_origin(kind), get_args(kind)
    if is_dataclass(kind) and isinstance(kind, type):
        return decode(kind, value)
    if origin in (Union, UnionType):
        return _either(parts, value)
    if origin is Literal:
        if value in parts:
            return value
        raise ValueError(f"{value!r} is none of {', '.join(map(repr, parts))}")
    if origin is tuple and isinstance(value, list | tuple):
        kinds = parts[:1] * len(value) if parts[-1] is Ellipsis else parts
        return tuple(_value(k, v) for k, v in zip(kinds, value, strict=True))
    if origin is dict and isinstance(value, Mapping):
        return {_value(parts[0], key): _value(parts[1], one) for key, one in value.items()}
    if kind is float and type(value) is int:
        return float(value)
    if origin is None and type(value) is kind:
        return value
    raise TypeError(f"{value!r} is not of type {getattr(kind, '__name__', kind)}")


def _either(kinds: tuple[Any, ...], value: Any) -> Any:
    if value is None and NoneType in kinds:
        return None
    wrong: Exception | None = None
    for kind in kinds:
        if kind is not NoneType:
            try:
                return _value(kind, value)
            except (TypeError, ValueError) as error:
                wrong = error
    raise TypeError(str(wrong)) from wrong
