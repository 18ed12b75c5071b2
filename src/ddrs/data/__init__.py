"""Datasets by name: one map-style view of inputs, mostly labelled, whatever holds them.

Images become float32 `[channels, height, width]` in [0, 1], the space that sigma and radii are
meant in. They are decoded one at a time, when asked for. All inputs of a dataset have one shape.
"""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
