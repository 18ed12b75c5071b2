import builtins

import pytest

from ddrs import errors


@pytest.mark.parametrize("name", sorted({*errors.__all__} - {"DDRSError", "DDRSWarning"}))
def test_every_error_is_ours_and_a_builtin_too(name):
    kind = getattr(errors, name)
    assert issubclass(kind, errors.DDRSError)
    assert any(issubclass(kind, getattr(builtins, base)) for base in (
        "ValueError", "OSError", "ImportError"
    ))  # fmt: skip
    assert str(kind("what to do")) == "what to do"


class PartialError(errors.RunError):
    """An error that carries what was done before it."""

    def __init__(self, message: str, done: list[int]) -> None:
        super().__init__(message)
        self.done = done


@pytest.mark.parametrize(
    "error",
    [
        PartialError("the disk is full", [1, 2]),
        errors.MissingDependencyError("no timm"),
        errors.StoreMismatchError("another model"),
        errors.ModelError("no scores"),
    ],
)
def test_an_error_can_say_where_it_happened(error: errors.DDRSError) -> None:
    error.__cause__ = KeyError("x")
    before = str(error)
    found = error.saying(f"input 3: {error}")
    assert type(found) is type(error)
    assert str(found) == f"input 3: {before}"
    assert found.__cause__ is error.__cause__
    assert vars(found) == vars(error)
    assert str(error) == before
    assert str(found.saying(f"run a: {found}")) == f"run a: input 3: {before}"


def test_what_an_error_carries_is_carried_on() -> None:
    error = PartialError("the disk is full", [1, 2])
    assert error.saying("input 3").done is error.done
