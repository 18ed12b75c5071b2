"""One error tree: everything raised on purpose is a `DDRSError` and, where it fits, a builtin too.

A message is one line that says what is wrong and what to do about it.
"""

from typing import Self

__all__ = [
    "ConfigurationError",
    "DDRSError",
    "DDRSWarning",
    "DataError",
    "InputError",
    "MissingDependencyError",
    "ModelError",
    "RunError",
    "StoreError",
    "StoreMismatchError",
    "WeightsError",
]


class DDRSError(Exception):
    """The root of every error that this library raises on purpose."""

    def saying(self, message: str) -> Self:
        """The same error with another message; type, attributes and cause are those of this one.

        It is for a layer that knows more than the one that found the fault, e.g. which input it
        was: `raise error.saying(f"input {index}: {error}") from error.__cause__`.
        """
        # Without `__init__`, which in a subclass may ask for more than a message.
        error = type(self).__new__(type(self), message)
        error.args = (message,)
        error.__dict__.update(self.__dict__)
        error.__cause__ = self.__cause__
        return error


class DDRSWarning(UserWarning):
    """What a user should know of an input or a dataset that is taken all the same, in one line."""


class ConfigurationError(DDRSError, ValueError):
    """A parameter, option or name that can never work (sigma <= 0, n = 0, an unknown policy)."""


class InputError(DDRSError, ValueError):
    """An input that cannot be certified: wrong shape, wrong dtype, NaN or infinite values."""


class ModelError(DDRSError, ValueError):
    """The user's model failed, or returned something that is not one score per class."""


class WeightsError(DDRSError, ValueError):
    """A weights file that does not fit the model it was given for."""


class DataError(DDRSError, OSError):
    """A dataset that is missing, truncated, or without the expected columns."""


class MissingDependencyError(DDRSError, ImportError):
    """An optional package is needed for what was asked."""


class StoreError(DDRSError, OSError):
    """The memory's store is missing, locked, damaged, full, or from a newer version."""


class StoreMismatchError(StoreError, ValueError):
    """The memory belongs to another model, noise, norm or input shape."""


class RunError(DDRSError, OSError):
    """A run directory that cannot be written, or that was made with another configuration."""


# What other libraries advise to set, so as to run a stranger's code, and what we say instead.
_INSTEAD = {
    "weights_only": "it holds more than tensors, and could run code of its own if it were read: "
    "save module.state_dict() alone where it was made",
    "allow_pickle": "it holds pickled objects, which could run code of their own if they were read",
    "trust_remote_code": "it needs code that comes with it, and such code is never run",
}


def one_line(error: Exception) -> str:
    """The message of another library's error, as part of one of ours.

    Advice to run what a file holds is not passed on: our own text stands in its place.
    """
    text = " ".join(str(error).split())
    for option, instead in _INSTEAD.items():
        if option in text:
            return instead
    return text
