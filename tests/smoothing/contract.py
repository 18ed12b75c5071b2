"""What every `Method` must do, whatever its certificates rest on."""

import dataclasses

import pytest
import torch

from ddrs import recompute_radius
from ddrs.errors import InputError, ModelError
from ddrs.proof.check import certificate_faults
from support.classifiers import Recorder


class MethodContract:
    """Inherit, and give `make(seed, batch_size)`: the method on a small network of four classes."""

    def make(self, **options):
        raise NotImplementedError

    @pytest.fixture
    def x(self):
        return torch.randn(7, 8, generator=torch.Generator().manual_seed(4))

    def networks(self, method):
        return [each.model for each in method.alternatives.classifiers]

    def test_its_certificates_are_sound_by_themselves(self, x):
        certificates = self.make(seed=3).certify(x)
        assert [fault for one in certificates for fault in certificate_faults(one)] == []
        assert all(one.own_radius == recompute_radius(one) for one in certificates)
        assert any(one.radius > 0 for one in certificates)

    def test_neither_order_nor_batches_nor_company_change_a_certificate(self, x):
        expected = self.make(seed=3).certify(x)
        assert self.make(seed=3, batch_size=5).certify(x) == expected
        assert self.make(seed=3).certify(x.flip(0)) == expected[::-1]
        method = self.make(seed=3)
        assert [method.certify(x[row : row + 1])[0] for row in range(len(x))] == expected

    @pytest.mark.parametrize("call", ["certify", "predict"])
    def test_a_network_that_changes_while_it_votes_gets_no_answer(self, x, call):
        method = self.make(seed=3)
        weights = [next(each.parameters()) for each in self.networks(method)]

        def train(votes):
            with torch.no_grad():
                weights[-1].add_(1e-3)

        method.on_votes(train)
        with pytest.raises(ModelError, match="changed since it was smoothed"):
            getattr(method, call)(x)

    def test_a_seed_keys_every_vote(self, x):
        one, again, other = (self.make(seed=seed).certify(x) for seed in (3, 3, 4))
        assert one == again
        assert [c.count for c in one] != [c.count for c in other]
        fresh = [self.make(seed=None).certify(x) for _ in range(2)]
        assert fresh[0][0].seed != fresh[1][0].seed

    def test_no_certificate_takes_more_votes_than_the_cost(self, x):
        method, told = self.make(seed=3), []
        method.on_votes(told.append)
        certificates = method.certify(x)
        assert all(one.votes <= method.cost for one in certificates)
        assert sum(told) == sum(one.votes for one in certificates)

    def test_a_stopping_rule_takes_fewer_votes_and_keeps_the_answer(self, x):
        whole = self.make(seed=3).certify(x)
        early = self.make(seed=3).certify(x, at_radii=(0.1, 3.0))
        assert sum(one.votes for one in early) < sum(one.votes for one in whole)
        assert all(one.looks > 1 for one in early)
        assert [fault for one in early for fault in certificate_faults(one)] == []

    def test_a_prediction_is_the_class_that_is_certified(self, x):
        method = self.make(seed=3)
        certified = [one.prediction for one in method.certify(x)]
        for prediction, answer in zip(method.predict(x), certified, strict=True):
            assert prediction == answer or -1 in (prediction, answer)

    def test_an_empty_batch_has_no_certificates(self, x):
        assert self.make(seed=3).certify(x[:0]) == self.make(seed=3).predict(x[:0]) == []

    def test_what_is_no_batch_is_refused(self, x):
        for bad in (x[0], x.long(), x.clone().fill_(torch.nan)):
            with pytest.raises(InputError):
                self.make(seed=3).certify(bad)

    def test_the_networks_come_back_as_they_were(self, x):
        method = self.make(seed=3)
        for network in self.networks(method):
            network.train()
        method.certify(x)
        assert all(network.training for network in self.networks(method))

    def test_its_digest_names_what_is_certified(self):
        one, again = self.make(seed=3), self.make(seed=4, batch_size=9)
        assert one.digest == again.digest
        assert len(one.digest) == 64

    def test_it_says_whether_its_certificates_hold_together_alone(self, x):
        method = self.make(seed=3)
        kinds = {(c.sigma, c.model_digest) for c in method.certify(x)}
        assert len(kinds) == 1 or not method.alone


class OwnAndResolveContract(MethodContract):
    """For a method with a memory: `certify` is `own`, then `resolve`. Give `memory()` too."""

    def memory(self):
        raise NotImplementedError

    def test_certify_is_own_then_resolve(self, x):
        whole = self.make(seed=3, memory=self.memory()).certify(x)
        anywhere = self.make(seed=3)
        halves = [anywhere.own(x[row : row + 1])[0] for row in reversed(range(len(x)))]
        in_order = self.make(seed=3, memory=self.memory())
        assert in_order.resolve(x, halves[::-1]) == whole
        assert len(in_order.memory) == len([c for c in whole if c.prediction >= 0])

    def test_own_certificates_leave_the_memory_alone(self, x):
        method = self.make(seed=3, memory=self.memory())
        own = method.own(x)
        assert len(method.memory) == 0
        assert own == self.make(seed=3).certify(x)

    def test_without_a_memory_there_is_nothing_to_resolve(self, x):
        method = self.make(seed=3)
        assert method.resolve(x, method.own(x)) == method.certify(x)

    def test_certificates_of_other_inputs_or_classifiers_are_not_resolved(self, x):
        method = self.make(seed=3, memory=self.memory())
        own = method.own(x)
        with pytest.raises(InputError, match="other inputs"):
            method.resolve(x.flip(0), own)
        with pytest.raises(InputError, match="other inputs"):
            method.resolve(x, own[:-1])
        other = {"l2": "l1", "l1": "l2"}[own[0].norm]
        for change, message in (
            ({"model_digest": "0" * 64}, "another classifier"),
            ({"norm": other}, "another classifier or noise"),
            ({"alpha": 0.2}, "another alpha"),
            ({"own_radius": 100.0}, "not sound: own radius"),
            ({"own_prediction": -1}, "not sound"),
        ):
            sure = next(k for k, one in enumerate(own) if one.radius > 0)
            foreign = [*own[:sure], dataclasses.replace(own[sure], **change), *own[sure + 1 :]]
            with pytest.raises(InputError, match=message):
                method.resolve(x, foreign)
        assert len(method.memory) == 0

    def test_what_is_stored_is_not_voted_on_again(self, x):
        method = self.make(seed=3, memory=self.memory())
        first = method.certify(x)
        recorders = [n for n in self.networks(method) if isinstance(n, Recorder)]
        before = [recorder.rows for recorder in recorders]
        held = [row for row, one in enumerate(first) if one.prediction >= 0]
        assert method.certify(x[held]) == [first[row] for row in held]
        assert [recorder.rows for recorder in recorders] == before
