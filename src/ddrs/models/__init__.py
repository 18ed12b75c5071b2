"""Classifiers by name: every one takes pixels in [0, 1] and returns logits.

Normalisation, and resizing where a network has a fixed input size, happen inside the module, so
that noise and radii keep the units of the input.
"""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
