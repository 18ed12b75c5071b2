"""A digest of any Python value that a network keeps: by what it is, not by where it lies.

It is the same in every process: neither addresses nor hash seeds nor the order of attributes enter
it. Classes and functions of modules go by their names; other functions by their source text, with
the values of their defaults and closures.
"""

import copyreg
import enum
import hashlib
import json
import pathlib
import types
import weakref
from _thread import LockType, RLock
from collections.abc import Callable, Iterable, Mapping
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.utils.hooks import RemovableHandle

from ddrs.networks.kept import all_kept
from ddrs.networks.sources import cell_value, enclosed, place, source
from ddrs.networks.structure import class_name, contents, feed_structure
from ddrs.networks.torchscript import program_digest

__all__ = ["InTraining", "NoDigest", "Values"]

BUILTIN = (types.BuiltinFunctionType, types.MethodDescriptorType, types.MethodWrapperType)
NAMED = (torch.dtype, torch.layout, torch.memory_format, torch.qscheme, np.dtype)
IDLE = (torch.device, LockType, RLock, RemovableHandle)  # they decide nothing

# What a configuration of `transformers` says beside what decides; weights have a type themselves.
OF_NO_EFFECT = frozenset({"_name_or_path", "transformers_version", "dtype", "torch_dtype"})


class NoDigest(Exception):
    """A value that has no digest; the message says which."""


class InTraining(NoDigest):
    """A network that is no submodule, and so is not put into evaluation mode."""


class Values:
    """Digests of values that one model keeps.

    Args:
        model: its own modules, parameters and buffers go by their names within it.
    """

    def __init__(self, model: nn.Module) -> None:
        self._names: dict[int, str] = {}
        self._done: dict[int, tuple[object, bytes]] = {}  # the value too, so that its id stays its
        self._open: list[int] = []
        self._know(model, "")

    def digest(self, value: object) -> bytes:
        """SHA-256 of a value.

        Raises:
            NoDigest: there is none.
        """
        atom = _atom(value)
        if atom is not None:
            return atom
        key = id(value)
        if key in self._names:
            return _hash("the model's", self._names[key].encode())
        if key in self._done:
            return self._done[key][1]
        if key in self._open:  # a value within itself
            return _hash("around", str(self._open[::-1].index(key)).encode())
        self._open.append(key)
        try:
            found = self._compound(value)
        except RecursionError as error:
            raise NoDigest("is nested too deeply") from error
        finally:
            self._open.pop()
        self._done[key] = value, found
        return found

    def _know(self, model: nn.Module, prefix: str) -> None:
        for part in (model.named_modules, model.named_parameters, model.named_buffers):
            for name, value in part():
                self._names.setdefault(id(value), f"{prefix}{part.__name__}:{name}")

    def _compound(self, value: object) -> bytes:
        if isinstance(value, type):
            return self._all("class", [class_name(value), enclosed(value)])
        if isinstance(value, Tensor):
            return _tensor(value)
        if isinstance(value, torch.jit.ScriptFunction):
            return _hash("program", program_digest(value))
        if isinstance(value, nn.Module):
            return self._module(value)
        if type(value) in (list, tuple, dict, set, frozenset):
            return self._container(value)
        if isinstance(value, np.ndarray) and type(value) in (np.ndarray, np.memmap):
            return self._array(value)
        if isinstance(value, types.FunctionType):
            return self._function(value)
        if isinstance(value, types.MethodType):
            return self._all("method", [value.__self__, value.__func__])
        if isinstance(value, BUILTIN):
            owner = getattr(value, "__self__", getattr(value, "__objclass__", None))
            return self._all("built in", [owner, value.__module__, value.__name__])
        if isinstance(value, weakref.ref):
            return self._all("weak", [value()])
        if _is_transformers_config(value):
            return _hash("config", _decisive(value))
        return self._object(value)

    def _all(self, kind: str, values: Iterable[object]) -> bytes:
        return _hash(kind, *(self.digest(each) for each in values))

    def _container(self, value: Any) -> bytes:
        kind = type(value).__name__
        if isinstance(value, dict):  # in its order, which a network may go by
            return self._all(kind, [each for pair in value.items() for each in pair])
        if isinstance(value, set | frozenset):
            return _hash("set", *sorted(self.digest(each) for each in value))
        return self._all(kind, value)

    def _array(self, value: Any) -> bytes:
        about = [value.dtype.str, value.dtype.descr, value.shape]
        if value.dtype.hasobject:
            return self._all("array", [*about, value.tolist()])
        return _hash("array", self.digest(about), value.tobytes())

    def _module(self, module: nn.Module) -> bytes:
        """A network that is no submodule, as in a list: it is hashed whole."""
        training = [
            name for name, each in module.named_modules() if getattr(each, "training", False)
        ]
        if training:
            raise InTraining(
                "hides a network from torch, which votes in training mode: put it into an "
                "nn.ModuleList, or call eval() on it"
            )
        self._know(module, f"{len(self._names)}:")
        digest = hashlib.sha256()
        feed_structure(digest, module)
        for name, value in all_kept(module):
            digest.update(f"{name}\n".encode() + self.digest(value))
        return _hash("module", digest.digest())

    def _function(self, function: types.FunctionType) -> bytes:
        name = place(function)
        if name is not None:
            return _hash("function", name.encode())
        try:
            text = source(function.__code__)
        except (OSError, SyntaxError, TypeError) as error:
            raise NoDigest(
                f"is the function {function.__qualname__} without source text"
            ) from error
        cells = [cell_value(cell) for cell in function.__closure__ or ()]
        held = [function.__defaults__, function.__kwdefaults__, cells, function.__dict__]
        return _hash("source", text.encode(), *(self.digest(each) for each in held))

    def _object(self, value: object) -> bytes:
        """An object as a pickle would hold it: its class, arguments, attributes and items."""
        name = place(value)
        if name is not None:
            return _hash("named", name.encode())
        reducer: Callable[[Any], Any] | None = copyreg.dispatch_table.get(type(value))
        try:
            if isinstance(value, torch.ScriptObject):
                made: Any = (type(value), (str(value._type()), value.__getstate__()))
            else:
                made = reducer(value) if reducer else value.__reduce_ex__(4)
        except Exception as error:
            raise NoDigest(f"is a {class_name(type(value))}") from error
        if isinstance(made, str) and hasattr(value, "__wrapped__"):  # by `functools.cache`
            return self._all("around", [type(value), value.__wrapped__])
        if isinstance(made, str):
            return _hash("named", f"{type(value).__module__}.{made}".encode())
        call, arguments, state, items, pairs = (*made, None, None, None)[:5]
        if isinstance(state, tuple) and len(state) == 2 and type(state[1]) is dict:
            state = {**(state[0] or {}), **state[1]}  # of a class with slots
        if type(state) is dict and all(isinstance(each, str) for each in state):
            state = sorted(state.items())
        return self._all("object", [call, arguments, state, list(items or ()), list(pairs or ())])


def _hash(kind: str, *parts: bytes) -> bytes:
    digest = hashlib.sha256(kind.encode())
    for part in parts:
        digest.update(b"\n%d\n" % len(part))
        digest.update(part)
    return digest.digest()


def _atom(value: Any) -> bytes | None:
    """SHA-256 of what has no parts; None where it has."""
    kind = type(value)
    if value is None or kind in (bool, int):
        return _hash(kind.__name__, b"" if value is None else b"%x" % value)
    if kind is str:
        return _hash("str", value.encode("utf-8", "surrogatepass"))
    if kind in (float, complex):
        number = complex(value)
        return _hash(kind.__name__, f"{number.real.hex()} {number.imag.hex()}".encode())
    if kind in (bytes, bytearray):
        return _hash(kind.__name__, value)
    if isinstance(value, type) and not enclosed(value):
        return _hash("class", class_name(value).encode())
    if isinstance(value, np.generic):
        return _hash("number", value.dtype.str.encode(), value.tobytes())
    text = None
    if isinstance(value, enum.Enum):
        text = f"{value.name} {value.value}"
    elif isinstance(value, NAMED) or kind.__module__ == "torch._ops":
        text = str(value)
    elif isinstance(value, IDLE):
        text = ""
    elif isinstance(value, pathlib.PurePath):
        text = value.as_posix()
    elif isinstance(value, np.ufunc | types.ModuleType):
        text = value.__name__
    return None if text is None else _hash(class_name(kind), text.encode())


def _tensor(tensor: Tensor) -> bytes:
    about = f"{class_name(type(tensor))} {tensor.dtype} {list(tensor.shape)}"
    try:
        return _hash("tensor", about.encode(), *contents(tensor))
    except (RuntimeError, NotImplementedError, TypeError) as error:
        raise NoDigest("holds a tensor without values") from error


def _is_transformers_config(value: object) -> bool:
    return any(
        kind.__module__.startswith("transformers.")
        and kind.__name__ in ("PreTrainedConfig", "PretrainedConfig")
        for kind in type(value).__mro__
    )


def _decisive(config: Any) -> bytes:
    """What decides in a configuration of `transformers`, as JSON."""

    def strip(part: object) -> object:
        if isinstance(part, Mapping):
            return {
                str(key): strip(value)
                for key, value in part.items()
                if key not in OF_NO_EFFECT and "attn_implementation" not in str(key)
            }
        return [strip(each) for each in part] if isinstance(part, list | tuple) else part

    try:
        return json.dumps(strip(config.to_dict()), sort_keys=True).encode()
    except (TypeError, ValueError) as error:
        raise NoDigest(f"is a {class_name(type(config))} that is no JSON") from error
