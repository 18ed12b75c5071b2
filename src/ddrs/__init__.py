"""Certified robustness for any PyTorch classifier, with the noise level chosen for each input."""

from ddrs.certificate import ABSTAIN, Certificate
from ddrs.certify import recompute_radius
from ddrs.errors import DDRSError
from ddrs.noise import Gaussian, Uniform
from ddrs.sigma import FixedSigma, GradientSigma, SearchSigma
from ddrs.version import __version__

__all__ = [
    "ABSTAIN",
    "Certificate",
    "DDRSError",
    "FixedSigma",
    "Gaussian",
    "GradientSigma",
    "SearchSigma",
    "Uniform",
    "__version__",
    "recompute_radius",
]
