"""The hot loop: noisy forward passes of a base classifier -> class counts."""

from ddrs.votes.batching import BatchSize
from ddrs.votes.classifier import NoisyClassifier
from ddrs.votes.frozen import frozen
from ddrs.votes.identity import Precision, model_digest
from ddrs.votes.inputs import Inputs, VoteRequest

__all__ = [
    "BatchSize",
    "Inputs",
    "NoisyClassifier",
    "Precision",
    "VoteRequest",
    "frozen",
    "model_digest",
]
