"""The command that makes every table and figure again: `python -m experiments.cifar10.report`."""

from experiments.cifar10.report.build import main

main()
