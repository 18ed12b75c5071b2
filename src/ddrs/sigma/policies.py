"""Every sigma policy by its name on the command line and in records."""

from typing import Literal

from ddrs.sigma.fixed import FixedSigma
from ddrs.sigma.gradient import GradientSigma
from ddrs.sigma.search import SearchSigma

__all__ = ["POLICIES", "PolicyName"]

PolicyName = Literal["fixed", "gradient", "search"]

POLICIES: dict[PolicyName, type[FixedSigma | GradientSigma | SearchSigma]] = {
    "fixed": FixedSigma,
    "gradient": GradientSigma,
    "search": SearchSigma,
}
"""The class of each policy; `POLICIES[name](**settings)` with the fields that a record holds."""
