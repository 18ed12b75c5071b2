import pytest

from ddrs.errors import ConfigurationError
from ddrs.sigma.fixed import FixedSigma
from sigma.contract import INITIAL, SigmaPolicyContract


class TestFixedSigma(SigmaPolicyContract):
    def policy(self):
        return FixedSigma(INITIAL)

    def test_it_is_the_same_for_all_inputs_at_no_cost(self, noise):
        choice = self.choose(noise)
        assert choice.sigma.tolist() == [INITIAL] * 6
        assert choice.votes.tolist() == [0] * 6
        assert not self.policy().per_input


@pytest.mark.parametrize("sigma", [0.0, -1.0, float("nan"), float("inf")])
def test_a_scale_that_can_never_work_is_refused(sigma):
    with pytest.raises(ConfigurationError, match="sigma"):
        FixedSigma(sigma)
