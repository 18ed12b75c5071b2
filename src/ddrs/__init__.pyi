from . import errors, evaluation
from .memory.memory import Memory
from .noise.distributions import Gaussian, Uniform
from .proof.certificate import ABSTAIN, Certificate
from .proof.certify import recompute_radius
from .sigma.fixed import FixedSigma
from .sigma.gradient import GradientSigma
from .sigma.search import SearchSigma
from .smoothing.calibrating import calibrate
from .smoothing.calibration import Calibration
from .smoothing.cascade import Cascade
from .smoothing.classifier import SmoothedClassifier
from .smoothing.routed import Routed
from .version import __version__

__all__ = [
    "ABSTAIN",
    "Calibration",
    "Cascade",
    "Certificate",
    "FixedSigma",
    "Gaussian",
    "GradientSigma",
    "Memory",
    "Routed",
    "SearchSigma",
    "SmoothedClassifier",
    "Uniform",
    "__version__",
    "calibrate",
    "errors",
    "evaluation",
    "recompute_radius",
]
