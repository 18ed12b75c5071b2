"""Classifiers by name: every one takes pixels in [0, 1] and returns logits.

Normalisation, and resizing where a network has a fixed input size, happen inside the module, so
that noise and radii keep the units of the input.
"""

from ddrs.models.loaded import LoadedModel
from ddrs.models.loading import load
from ddrs.models.run import RunConfig, read_run_config
from ddrs.models.weights import load_weights

__all__ = ["LoadedModel", "RunConfig", "load", "load_weights", "read_run_config"]
