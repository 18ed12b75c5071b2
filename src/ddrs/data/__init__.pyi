from .dataset import Dataset
from .loading import load
from .split import Split

__all__ = [
    "Dataset",
    "Split",
    "load",
]
