"""From JSON to a dataclass, by the types of its fields: a file is believed only where it fits."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import MISSING, fields, is_dataclass
from math import isfinite
from types import NoneType, UnionType
from typing import Any, Literal, TypeVar, Union, get_args, get_origin, get_type_hints

from ddrs.runs.checking import shown

__all__ = ["decode", "read_json"]

T = TypeVar("T")


def read_json(text: str) -> Any:
    """What a JSON text of a run says, if all of its numbers are some.

    Raises:
        ValueError: it is not JSON, is nested too deep, has a key twice in one object, or a number
            that is infinite, NaN, or whole and longer than 64 bits.
    """
    try:
        return json.loads(
            text,
            parse_constant=_refused,
            parse_float=_finite,
            parse_int=_short,
            object_pairs_hook=_once,
        )
    except RecursionError as error:
        raise ValueError("it is nested too deep") from error


def _refused(word: str) -> float:
    raise ValueError(f"{word} is no number")


def _finite(digits: str) -> float:
    number = float(digits)
    return number if isfinite(number) else _refused("a number beyond all floats")


def _short(digits: str) -> int:
    if len(digits) > 20 or abs(int(digits)) >= 2**63:
        raise ValueError(f"a whole number of {len(digits)} digits is too large")
    return int(digits)


def _once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    values = dict(pairs)
    if len(values) < len(pairs):
        raise ValueError("an object has a key twice")
    return values


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
        raise TypeError(f"{shown(data)} is not a JSON object")
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
    raise TypeError(f"{shown(value)} is not of type {kind if origin else kind.__name__}")


def _first_that_fits(kinds: tuple[Any, ...], value: Any) -> Any:
    """The value in the first of several types that it fits; where none, what is wrong with that."""
    faults: list[Exception] = []
    for kind in kinds:
        try:
            return None if kind is NoneType and value is None else _value(kind, value)
        except (TypeError, ValueError) as error:
            faults.append(error)
    raise faults[0]
