"""What `--policy` can name: a policy that chooses sigma for a memory, or a way that needs none."""

from dataclasses import fields
from typing import Literal

from ddrs.sigma.fixed import FixedSigma
from ddrs.sigma.gradient import GradientSigma
from ddrs.sigma.policy import INITIAL_OPTION
from ddrs.sigma.search import SearchSigma
from ddrs.smoothing.levels import Levels

__all__ = ["WAYS", "Way", "WayName", "way_settings"]

WayName = Literal["fixed", "gradient", "search", "cascade"]

Way = FixedSigma | GradientSigma | SearchSigma | Levels

WAYS: dict[WayName, type[Way]] = {
    "fixed": FixedSigma,
    "gradient": GradientSigma,
    "search": SearchSigma,
    "cascade": Levels,
}
"""By its name, the class that holds the settings of each way."""


def way_settings(way: WayName) -> tuple[str, ...]:
    """The fields of a way that are settings of its own: all but the sigma that it starts from."""
    flag = INITIAL_OPTION["flag"]
    return tuple(each.name for each in fields(WAYS[way]) if each.metadata.get("flag") != flag)
