"""What a Python function is: where it lies, or else its source text."""

import ast
import inspect
import sys
import textwrap
from functools import lru_cache, reduce
from types import CodeType

__all__ = ["place", "source"]


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
