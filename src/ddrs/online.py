"""The Hugging Face hub: asked whether it can be reached, and not waited for where it cannot."""

import sys
from collections.abc import Iterator
from contextlib import contextmanager

from ddrs.errors import DDRSError, one_line

__all__ = ["hub"]

SECONDS = 5.0  # for a first answer; whatever follows takes the time that it takes


@contextmanager
def hub(spec: str, error: type[DDRSError]) -> Iterator[None]:
    """Load what `spec` names; without a connection from what was fetched before.

    The packages that fetch would try again for most of a minute, each file anew. They are told to
    stay offline instead, as `HF_HUB_OFFLINE=1` does.

    Args:
        spec: what is loaded, for the message.
        error: what to raise where it was never fetched.
    """
    from huggingface_hub import constants

    reason = None if constants.HF_HUB_OFFLINE else _unreachable(constants.ENDPOINT)
    if reason is None:
        yield
        return
    modules = [constants]
    if "datasets" in sys.modules:  # it has a copy of its own
        modules.append(sys.modules["datasets.config"])
    for module in modules:
        vars(module)["HF_HUB_OFFLINE"] = True
    try:
        yield
    except Exception as cause:
        raise error(
            f"{spec} was not fetched before, and {constants.ENDPOINT} cannot be reached "
            f"({reason}): fetch it where there is a connection, or give a directory"
        ) from cause
    finally:
        for module in modules:
            vars(module)["HF_HUB_OFFLINE"] = False


def _unreachable(endpoint: str) -> str | None:
    """Why the hub does not answer; None where it does, whatever it says."""
    from huggingface_hub import get_session

    try:
        get_session().head(endpoint, timeout=SECONDS)
    except Exception as error:  # of the network, or of a proxy
        return one_line(error) or type(error).__name__
    return None
