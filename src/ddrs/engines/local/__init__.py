"""Carry out jobs on this machine, one run directory a job."""

from ddrs.engines.local.certifying import certify_run, check_same_inputs, keeps_answer
from ddrs.engines.local.training import dry_run, train_run

__all__ = ["certify_run", "check_same_inputs", "dry_run", "keeps_answer", "train_run"]
