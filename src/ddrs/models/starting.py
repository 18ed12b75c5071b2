"""What a training starts from: fresh random weights, given ones, or a network of `transformers`."""

from dataclasses import dataclass
from pathlib import Path

from torch import nn

from ddrs.errors import ConfigurationError, WeightsError
from ddrs.models.hub import start_from_transformers
from ddrs.models.loading import making
from ddrs.models.run import HF, WEIGHTS_FILE, network, read_run_config
from ddrs.models.weights import (
    SUFFIXES,
    Fit,
    compare,
    copy_fitting,
    read_weights,
    shapes,
)
from ddrs.networks.architectures import ARCHITECTURES, build

__all__ = [
    "Start",
    "start",
]

LISTED_KEYS = 12  # of each kind, in the report of a start
LINE_WIDTH = 100


@dataclass(frozen=True)
class Start:
    """A network to be trained.

    Attributes:
        module: maps `[batch, *shape]` floats in [0, 1] to logits `[batch, num_classes]`.
        arch: a key of `architectures.ARCHITECTURES`, or `"hf"` for one of `transformers`.
        report: a few lines that say what of the given weights it starts with; empty for a random
            start.
    """

    module: nn.Module
    arch: str
    report: str


def start(arch: str | None, init: str | None, *, num_classes: int, partial: bool) -> Start:
    """Make the network that a training starts from.

    Args:
        arch: a key of `architectures.ARCHITECTURES`; None for that of a run or a hub model.
        init: None for random weights; a weights file for `load_weights`; a directory of `ddrs
            train`; or `hf:NAME_OR_DIR`, an image classifier of `transformers`.
        num_classes: length of the output.
        partial: copy the weights that fit and leave the others random, instead of refusing them.

    Raises:
        ConfigurationError: `arch` is missing, unknown, or not the one of `init`; or `init` is none
            of these.
        MissingDependencyError: `transformers` is needed and not installed.
        ModelError: the `transformers` model cannot be made.
        RunError: the run directory is incomplete or damaged.
        WeightsError: the weights cannot be read, or some of them do not fit; with `partial`, none.
    """
    if init is None:
        name = _ours(arch)
        return Start(build(name, num_classes), name, "")
    form, _, name = init.partition(":")
    path = Path(init).expanduser()
    if form == HF and name:
        _refuse_another(arch, HF, init)
        with making(init):
            classifier, fit = start_from_transformers(name, num_classes)
        _check(fit, init, partial=partial)
        return Start(classifier, HF, _report(fit, init))
    if init and path.is_dir():
        found = read_run_config(path).arch
        _refuse_another(arch, found, init)
        module = network(path, found, num_classes)
        return Start(module, found, _fill(module, path / WEIGHTS_FILE, init, partial=partial))
    if path.suffix in SUFFIXES:
        name = _ours(arch)
        module = build(name, num_classes)
        return Start(module, name, _fill(module, path, init, partial=partial))
    raise ConfigurationError(
        f"cannot start from {init!r}: give a weights file ({', '.join(SUFFIXES)}), a directory "
        "made by ddrs train, or hf:NAME"
    )


def _ours(arch: str | None) -> str:
    """The name of an architecture that nothing else decides."""
    if arch is None or arch == HF:
        raise ConfigurationError(
            f"which network to train? Give --arch, one of {', '.join(ARCHITECTURES)}; or --init "
            "hf:NAME for one of transformers"
        )
    return arch


def _refuse_another(arch: str | None, found: str, init: str) -> None:
    if arch not in (None, found):
        raise ConfigurationError(f"{init} is of architecture {found}, not {arch}: leave out --arch")


def _fill(module: nn.Module, file: Path, source: str, *, partial: bool) -> str:
    """Copy what fits of a file into the module, and report it."""
    given = read_weights(module, file)
    fit = compare(shapes(module.state_dict()), shapes(given))
    _check(fit, source, partial=partial)
    copy_fitting(module, given)
    return _report(fit, source)


def _check(fit: Fit, source: str, *, partial: bool) -> None:
    """Refuse weights that do not fit: all of them must, or with `partial` at least one."""
    if not fit.used:
        raise WeightsError(f"{fit.misfit(source)}; check that it is of this architecture")
    if fit.faults and not partial:
        raise WeightsError(f"{fit.misfit(source)}; --partial-init starts with what fits")


def _report(fit: Fit, source: str) -> str:
    """Which weights the network starts with, and which of both sides it does not."""
    lines = [f"{fit.used} of {fit.total} tensors from {source}"]
    lines += _listed("at random", fit.missing + fit.wrong_shape)
    lines += _listed("not used", fit.unexpected)
    return "\n".join(lines)


def _listed(title: str, keys: list[str]) -> list[str]:
    """The keys under a title, in lines that end between two of them."""
    if not keys:
        return []
    words = [f"{key}," for key in keys[:LISTED_KEYS]]  # a key with its shapes has spaces in it
    words[-1] = words[-1].removesuffix(",")
    if len(keys) > LISTED_KEYS:
        words += ["and", str(len(keys) - LISTED_KEYS), "more"]
    lines = [f"{title}:"]
    for word in words:
        if len(lines[-1]) + 1 + len(word) <= LINE_WIDTH:
            lines[-1] += f" {word}"
        else:
            lines.append(f"  {word}")
    return lines
