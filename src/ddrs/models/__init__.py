"""Classifiers by name: every one takes pixels in [0, 1] and returns logits.

Normalisation, and resizing where a network has a fixed input size, happen inside the module, so
that noise and radii keep the units of the input.
"""

from ddrs.models.loaded import LoadedModel
from ddrs.models.loading import load
from ddrs.models.run import (
    ARCHITECTURE_FOLDER,
    WEIGHTS_FILE,
    RunConfig,
    read_run_config,
    save_architecture,
)
from ddrs.models.starting import Start, start
from ddrs.models.weights import load_weights

__all__ = [
    "ARCHITECTURE_FOLDER",
    "WEIGHTS_FILE",
    "LoadedModel",
    "RunConfig",
    "Start",
    "load",
    "load_weights",
    "read_run_config",
    "save_architecture",
    "start",
]
