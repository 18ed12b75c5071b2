import pytest

from ddrs.cli.options import named_values, numbers
from ddrs.errors import ConfigurationError


def test_numbers() -> None:
    assert numbers("--radii", "0,0.5,1") == (0.0, 0.5, 1.0)
    with pytest.raises(ConfigurationError, match="--radii takes numbers with commas"):
        numbers("--radii", "0;1")


def test_named_values() -> None:
    found = named_values("--option", ["k=4", "weight=1.5", "attack=ddn", "name=a=b"])
    assert found == {"k": 4, "weight": 1.5, "attack": "ddn", "name": "a=b"}


@pytest.mark.parametrize("word", ["k", "=4", "k=", ""])
def test_a_word_without_a_value_is_refused(word: str) -> None:
    with pytest.raises(ConfigurationError, match="NAME=VALUE"):
        named_values("--option", [word])
