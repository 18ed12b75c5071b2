"""Datasets by name: one map-style view of labelled inputs, whatever holds them.

Images become float32 `[channels, height, width]` in [0, 1], the space that sigma and radii are
meant in. They are decoded one at a time, when asked for. All inputs of a dataset have one shape.
"""

from ddrs.data.dataset import Dataset, Split
from ddrs.data.loading import load

__all__ = ["Dataset", "Split", "load"]
