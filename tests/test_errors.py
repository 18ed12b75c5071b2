import builtins

import pytest

from ddrs import errors


@pytest.mark.parametrize("name", [name for name in errors.__all__ if name != "DDRSError"])
def test_every_error_is_ours_and_a_builtin_too(name):
    kind = getattr(errors, name)
    assert issubclass(kind, errors.DDRSError)
    assert any(issubclass(kind, getattr(builtins, base)) for base in (
        "ValueError", "OSError", "ImportError"
    ))  # fmt: skip
    assert str(kind("what to do")) == "what to do"
