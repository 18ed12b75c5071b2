"""What `--policy` can name: a policy that chooses sigma for a memory, or a way that needs none."""

from dataclasses import fields
from typing import Literal

from ddrs.sigma.fixed import FixedSigma
from ddrs.sigma.gradient import GradientSigma
from ddrs.sigma.policy import INITIAL_OPTION
from ddrs.sigma.search import SearchSigma
from ddrs.smoothing.cells import Cells
from ddrs.smoothing.levels import Levels

__all__ = ["GUARDED", "STATELESS", "WAYS", "Way", "WayName", "way_settings"]

WayName = Literal["fixed", "gradient", "search", "cascade", "routed"]

Way = FixedSigma | GradientSigma | SearchSigma | Levels | Cells

WAYS: dict[WayName, type[Way]] = {
    "fixed": FixedSigma,
    "gradient": GradientSigma,
    "search": SearchSigma,
    "cascade": Levels,
    "routed": Cells,
}
"""By its name, the class that holds the settings of each way."""

GUARDED: tuple[WayName, ...] = ("gradient", "search")
"""The ways that choose sigma for each input, which a calibration keeps from going too far."""

STATELESS = (Levels, Cells)
"""The settings of the ways that choose inside the classifier: they need no memory."""


def way_settings(way: WayName) -> tuple[str, ...]:
    """The fields of a way that are settings of its own: all but the sigma that it starts from."""
    flag = INITIAL_OPTION["flag"]
    return tuple(
        each.name
        for each in fields(WAYS[way])
        if each.metadata and each.metadata.get("flag") != flag
    )
