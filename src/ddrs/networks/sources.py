"""What a Python function or class is: its place, or else its source text or what it takes in."""

import ast
import inspect
import sys
import textwrap
from collections.abc import Mapping
from functools import lru_cache, reduce
from types import CellType, CodeType, FunctionType
from typing import Any

__all__ = ["cell_value", "enclosed", "place", "source"]


def place(value: object) -> str | None:
    """Where a function or another object of a module can be found by name; None if nowhere."""
    module, name = getattr(value, "__module__", None), getattr(value, "__qualname__", None)
    if not (isinstance(module, str) and isinstance(name, str)) or module not in sys.modules:
        return None
    try:
        found = reduce(getattr, name.split("."), sys.modules[module])
    except AttributeError:
        return None
    return f"{module}.{name}" if found is value else None


def cell_value(cell: CellType) -> object:
    """What a closure holds; nothing is in a cell that is not filled yet."""
    try:
        return cell.cell_contents
    except ValueError:
        return None


def enclosed(kind: type) -> dict[str, Any]:
    """What classes made within functions take in: closures, defaults and attributes, by name.

    The name of such a class is that of all others that the function makes. `__init__` decides
    nothing but what an instance holds. Bases that a module names are left out.
    """
    found: dict[str, Any] = {}
    for each in _nameless(kind):
        for name, value in vars(each).items():
            for part, function in _functions(value).items():
                if name != "__init__" and (taken := _taken(function)):
                    found[f"{each.__qualname__}.{name}{part}"] = taken
            if not hasattr(type(value), "__get__") and not name.startswith("__"):
                found[f"{each.__qualname__}.{name}"] = value
    return found


@lru_cache(maxsize=1024)
def _nameless(kind: type) -> tuple[type, ...]:
    """A class and its bases, as far as no name of a module leads to them."""
    return tuple(each for each in kind.__mro__ if place(each) is None)


def _functions(value: object) -> Mapping[str, FunctionType]:
    """The functions behind an attribute of a class."""
    parts: dict[str, object] = {"": getattr(value, "__func__", value)}
    if isinstance(value, property):
        parts = {".get": value.fget, ".set": value.fset}
    return {name: each for name, each in parts.items() if isinstance(each, FunctionType)}


def _taken(function: FunctionType) -> list[Any]:
    """The values that a function has besides its arguments; nothing if it has none."""
    names = zip(function.__code__.co_freevars, function.__closure__ or (), strict=True)
    cells = [(name, cell_value(cell)) for name, cell in names if name != "__class__"]
    held = [cells, function.__defaults__ or (), function.__kwdefaults__ or {}]
    return held if any(held) else []


def source(code: CodeType) -> str:
    """The source text of a lambda or of a function, without its indentation.

    Raises:
        OSError: there is none, as for what was typed into `python -c`.
    """
    return _source(code, code.co_filename)  # equal code in other files is the same to a cache


@lru_cache(maxsize=1024)
def _source(code: CodeType, _file: str) -> str:
    if code.co_name != "<lambda>":
        return textwrap.dedent(inspect.getsource(code))
    text = "".join(inspect.findsource(code)[0])
    places = [
        each
        for each in code.co_positions()
        if None not in each and (each[0], each[2]) != (each[1], each[3])
    ]
    if not places:
        raise OSError("the place of the lambda in its line is not known")
    start = min((line, column) for line, _, column, _ in places)
    end = max((line, column) for _, line, _, column in places)
    around = [
        node
        for node in ast.walk(ast.parse(text))
        if isinstance(node, ast.Lambda)
        and (node.body.lineno, node.body.col_offset) <= start
        and end <= (node.body.end_lineno, node.body.end_col_offset)
    ]
    if not around:
        raise OSError("the lambda is not where its code says")
    innermost = max(around, key=lambda node: (node.body.lineno, node.body.col_offset))
    return ast.get_source_segment(text, innermost) or ""
