import pytest

from ddrs import models
from ddrs.errors import ConfigurationError


@pytest.mark.parametrize("spec", ["resnet21", "hf:", "keras:x", "", "no/such/run"])
def test_an_unknown_spec_gets_the_known_ones(spec: str) -> None:
    with pytest.raises(ConfigurationError, match=r"hf:NAME, timm:NAME, .* digits-cnn, resnet20"):
        models.load(spec)
