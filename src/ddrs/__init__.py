"""Certified robustness for any PyTorch classifier, with the noise level chosen for each input."""

from ddrs import errors, evaluation
from ddrs.certificate import ABSTAIN, Certificate
from ddrs.certify import recompute_radius
from ddrs.memory import Memory
from ddrs.noise import Gaussian, Uniform
from ddrs.sigma import FixedSigma, GradientSigma, SearchSigma
from ddrs.smoothed import SmoothedClassifier
from ddrs.version import __version__

__all__ = [
    "ABSTAIN",
    "Certificate",
    "FixedSigma",
    "Gaussian",
    "GradientSigma",
    "Memory",
    "SearchSigma",
    "SmoothedClassifier",
    "Uniform",
    "__version__",
    "errors",
    "evaluation",
    "recompute_radius",
]
