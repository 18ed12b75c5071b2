from dataclasses import fields
from typing import get_args

import pytest

from ddrs.errors import ConfigurationError
from ddrs.jobs.certify import CertifyJob
from ddrs.jobs.train import TrainJob
from ddrs.networks.architectures import ARCHITECTURES
from ddrs.networks.names import Architecture


def test_the_names_that_the_help_text_lists_are_those_of_the_networks() -> None:
    assert get_args(Architecture) == tuple(ARCHITECTURES)


def test_a_partial_start_needs_a_start() -> None:
    with pytest.raises(ConfigurationError, match="--init"):
        TrainJob("digits", "digits-cnn", partial_init=True)


@pytest.mark.parametrize("job", [CertifyJob, TrainJob])
def test_every_field_of_a_job_is_described(job: type) -> None:
    silent = [field.name for field in fields(job) if not field.metadata.get("help")]
    assert silent in (["settings"], ["training"])  # described by the fields in them
