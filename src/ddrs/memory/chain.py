"""Entries chained by digests: no row can be altered, added or removed without a trace.

c_0 is a digest of what the memory was made for, c_i = SHA-256(c_(i-1), entry i). Every row keeps
its c_i, and the store keeps the number of entries and the last c_i beside them. Whoever has this
code can forge all of it: a chain proves nothing against them, unless an earlier head was noted
where they cannot reach it. Abstentions have a chain of their own, which begins with the norm.
"""

import hashlib
import json
from collections.abc import Mapping, Sequence
from typing import Any

__all__ = ["CHAINED", "CHAINED_ABSTENTION", "FACTS", "genesis", "link"]

FACTS = ("norm", "shape", "model_digest", "noise")

# The columns of a region that decide, in the order in which they are digested. `input_digest`
# stands for the input.
CHAINED = (
    "id",
    "input_digest",
    "prediction",
    "radius",
    "outcome",
    "claimed_prediction",
    "claimed_radius",
    "evidence",
)
CHAINED_ABSTENTION = ("id", "input_digest", "alpha", "spent", "evidence")


def genesis(meta: Mapping[str, str]) -> str:
    """c_0 of a memory that says this about itself."""
    return _digest([meta.get(key) for key in FACTS])


def link(previous: str, row: Mapping[Any, Any], columns: Sequence[str] = CHAINED) -> str:
    """c_i.

    Args:
        previous: c_(i-1).
        row: the columns of entry i.
        columns: those that are digested, in order.
    """
    return _digest([previous, *(row[column] for column in columns)])


def _digest(values: list[Any]) -> str:
    # Numbers are written so that they read back exactly; a value of a type that no column holds is
    # an altered row, and gets a digest like any other.
    return hashlib.sha256(json.dumps(values, default=repr).encode()).hexdigest()
