"""The identity of a classifier: a digest of everything that decides its answers."""

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass

from torch import nn

from ddrs.errors import ConfigurationError, ModelError
from ddrs.networks.kept import all_kept, unwrapped
from ddrs.networks.precision import Precision
from ddrs.networks.structure import feed_structure
from ddrs.networks.values import InTraining, NoDigest, Values

__all__ = ["Identity", "check_identity", "identify", "model_digest"]

INSTEAD = 'hold it in a registered buffer, or pass identity="..." and vouch for it'


@dataclass(frozen=True)
class Identity:
    """What a classifier is.

    Attributes:
        digest: SHA-256 of all that decides its answers.
        told: SHA-256 of what torch tells of it alone, which was its digest in earlier versions.
        kept: name -> SHA-256 of each thing that it keeps beside that.
    """

    digest: str
    told: str
    kept: Mapping[str, bytes]


def identify(
    model: nn.Module,
    precision: Precision,
    *,
    compiled: bool = False,
    identity: str | None = None,
) -> Identity:
    """Digest a classifier: modules, settings, parameters, buffers, precision, compilation, and all
    else that a module keeps and that can decide.

    A module goes by the name of its class and where that lies, or by the `digest_name` of its
    class, which stays when the code moves. A subclass does not inherit that: it may answer
    otherwise. Where torch tells all, nothing else is digested. Wrappers that change nothing, those
    of parallel and compiled networks, do not count.

    Args:
        model: the network.
        precision: its arithmetic.
        compiled: whether a compiled copy of it answers.
        identity: the user's name for all that torch does not tell; nothing else is digested.

    Raises:
        ModelError: the model keeps what has no digest; it names that.
    """
    model = unwrapped(model)
    digest = hashlib.sha256(f"precision={precision}\n".encode())
    if compiled:
        digest.update(b"compiled\n")
    feed_structure(digest, model)
    told = digest.hexdigest()
    kept = {} if identity is not None else _digests(model)
    if identity is not None:
        digest.update(f"identity={identity}\n".encode())
    for name, value in kept.items():
        digest.update(f"kept {name}\n".encode() + value)
    return Identity(digest.hexdigest(), told, kept)


def model_digest(model: nn.Module, precision: Precision, *, compiled: bool = False) -> str:
    """SHA-256 of a classifier; arguments and errors are those of `identify`."""
    return identify(model, precision, compiled=compiled).digest


def check_identity(identity: str | None) -> None:
    """Raise ConfigurationError for a name that says nothing."""
    if identity is not None and (not isinstance(identity, str) or not identity.strip()):
        raise ConfigurationError("identity must be a text that names the classifier")


def _digests(model: nn.Module) -> dict[str, bytes]:
    values, found, name = Values(model), {}, "the model"
    try:
        for name, value in all_kept(model):
            found[name] = values.digest(value)
    except InTraining as error:
        raise ModelError(f"{name} of the model {error}") from error
    except NoDigest as error:
        raise ModelError(f"{name} of the model {error}, which has no digest: {INSTEAD}") from error
    except RuntimeError as error:
        raise ModelError(
            f"the model has a TorchScript program that torch cannot save: {INSTEAD}"
        ) from error
    return found
