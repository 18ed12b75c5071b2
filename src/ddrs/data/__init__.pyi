from .dataset import Dataset
from .loading import load
from .preparation import Preparation
from .split import Split

__all__ = [
    "Dataset",
    "Preparation",
    "Split",
    "load",
]
