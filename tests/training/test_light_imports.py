"""What is asked for is described without the packages that do it, which take seconds to load."""

import subprocess
import sys

import pytest

HEAVY = "torch transformers pandas scipy sqlalchemy pyarrow matplotlib datasets sklearn accelerate"


@pytest.mark.parametrize(
    "module",
    [
        "ddrs.networks.precision",
        "ddrs.noise.keys",
        "ddrs.sigma.fixed",
        "ddrs.sigma.gradient",
        "ddrs.sigma.policies",
        "ddrs.sigma.policy",
        "ddrs.sigma.search",
        "ddrs.training.config",
        "ddrs.training.metrics",
        "ddrs.training.objectives.methods",
        "ddrs.training.schedules",
        "ddrs.training.sigmas",
    ],
)
def test_an_import_is_light(module):
    code = f"import sys, {module}; print(*sorted({{*'{HEAVY}'.split()}} & {{*sys.modules}}))"
    found = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert found.stdout.split() == []
