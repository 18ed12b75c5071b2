"""Every objective by the name that `ddrs train --method` gives it."""

from collections.abc import Mapping
from dataclasses import asdict
from typing import TYPE_CHECKING, Any, Literal, get_args

from ddrs.errors import ConfigurationError

if TYPE_CHECKING:  # it loads torch, as the objectives do: a training is described without them
    from ddrs.training.objectives.objective import Objective

__all__ = ["METHODS", "Method", "check_options", "objective_class"]

Method = Literal["gaussian", "smoothadv", "macer", "consistency"]

METHODS: tuple[Method, ...] = get_args(Method)


def objective_class(method: Method) -> "type[Objective]":
    """The class whose fields are the hyperparameters of a method."""
    from ddrs.training.objectives.consistency import Consistency
    from ddrs.training.objectives.gaussian import GaussianAugmentation
    from ddrs.training.objectives.macer import Macer
    from ddrs.training.objectives.smoothadv import SmoothAdv

    classes: dict[Method, type[Objective]] = {
        "gaussian": GaussianAugmentation,
        "smoothadv": SmoothAdv,
        "macer": Macer,
        "consistency": Consistency,
    }
    return classes[method]


def check_options(method: Method, options: Mapping[str, Any]) -> None:
    """Refuse hyperparameters that the objective of a method does not have, or cannot work with.

    Raises:
        ConfigurationError: there is one.
    """
    kind = objective_class(method)
    defaults = asdict(kind())
    unknown = sorted({*options} - {*defaults})
    if unknown:
        raise ConfigurationError(
            f"options of {method} are {', '.join(defaults) or 'none'}: there is no "
            f"{', '.join(unknown)}"
        )
    for name, value in options.items():
        default = defaults[name]
        numeric = isinstance(default, float) and isinstance(value, int)
        if type(value) is not type(default) and not numeric:
            raise ConfigurationError(
                f"options of {method}: {name} is a {type(default).__name__} such as "
                f"{default!r}, got {value!r}"
            )
    kind(**options)  # which refuses a value out of its range
