import pytest

from ddrs import data
from ddrs.errors import ConfigurationError


@pytest.mark.parametrize("spec", ["cifar10", "digits:", "csv:a", "npz:", "", "parquet"])
def test_an_unknown_spec_gets_the_known_ones(spec: str) -> None:
    with pytest.raises(ConfigurationError, match="digits, parquet:PATH, npz:PATH, folder:PATH, hf"):
        data.load(spec)


def test_an_unknown_split_is_refused() -> None:
    with pytest.raises(
        ConfigurationError, match="unknown split 'val': use train, test, validation"
    ):
        data.load("digits", "val")
