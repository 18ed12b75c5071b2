"""Fields that the command line offers carry its texts, and the texts tell the truth."""

from dataclasses import MISSING, fields

import pytest

from ddrs.sigma.policies import POLICIES
from ddrs.training.config import TrainingConfig
from ddrs.training.sigmas import DataDependent

DESCRIBED = [
    pytest.param(field, id=f"{kind.__name__}.{field.name}")
    for kind in (TrainingConfig, DataDependent, *POLICIES.values())
    for field in fields(kind)
    if field.name != "nesterov"  # presets alone set it
    if field.name != "calibration"  # a file of the job, read by then
]


@pytest.mark.parametrize("field", DESCRIBED)
def test_a_field_has_the_texts_of_its_option(field):
    assert {"help"} <= field.metadata.keys() <= {"help", "metavar", "flag", "panel"}
    assert field.metadata["help"].endswith(".")
    if field.type == "bool" or field.type is bool or "Default: " not in field.metadata["help"]:
        return
    if isinstance(field.default, str):
        assert f"Default: {field.default}." in field.metadata["help"]
    elif field.default not in (None, MISSING):
        assert f"Default: {field.default:g}" in field.metadata["help"]
