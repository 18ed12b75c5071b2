"""Policies that choose the noise scale for each input of a batch.

A policy sees the base classifier, the inputs and the class selected for each at `initial`; it never
sees the votes that certify, so its choice costs no confidence. To add one, write a module beside
these that meets `SigmaPolicy` and inherit the contract suite of the tests.
"""

from ddrs.sigma.fixed import FixedSigma
from ddrs.sigma.gradient import GradientSigma
from ddrs.sigma.policy import SigmaChoice, SigmaPolicy
from ddrs.sigma.search import SearchSigma

__all__ = ["FixedSigma", "GradientSigma", "SearchSigma", "SigmaChoice", "SigmaPolicy"]
