"""What a network keeps outside parameters and buffers is part of its digest."""

import copy
import functools
import io
import json
import os
import subprocess
import sys
import threading
import warnings
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from torch import nn
from torch.nn.parallel import DataParallel

import ddrs
from ddrs.errors import ConfigurationError, ModelError, StoreMismatchError
from ddrs.networks.identity import identify, model_digest


class Holds(nn.Module):
    """A linear network that keeps whatever it is given."""

    def __init__(self, **kept) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.linear = nn.Linear(2, 2)
        vars(self).update(kept)

    def forward(self, x):
        return self.linear(x)


@dataclass
class Settings:
    scale: float
    names: tuple = ("a",)


class Slotted:
    __slots__ = ("scale",)

    def __init__(self, scale) -> None:
        self.scale = scale


class Pinned(nn.Linear):
    digest_name = "tests.Pinned"


def digest(model) -> str:
    return model_digest(model, "fp32")


def linear(value=1.0, **kept):
    layer = nn.Linear(2, 2)
    nn.init.constant_(layer.weight, value)
    nn.init.constant_(layer.bias, value)
    vars(layer).update(kept)
    return layer.eval()


def without_weight(tensor):
    layer = linear()
    del layer.weight
    layer.weight = tensor
    return layer


def pinned():
    torch.manual_seed(0)
    return Pinned(2, 2)


def closure(scale):
    def scaled(x, shift=0):
        return x * scale + shift

    return scaled


def hooked(module, scale, kind="register_forward_hook", **options):
    getattr(module, kind)(closure(scale), **options)
    return module


def itself(scale):
    cycle = [scale]
    cycle.append(cycle)
    return cycle


def encoder(**options):
    torch.manual_seed(0)
    return nn.TransformerEncoderLayer(4, 2, 8, **options)


def attention(heads):
    torch.manual_seed(0)
    return nn.MultiheadAttention(4, heads)


class Scaled(nn.Module):
    """What can be scripted, traced and exported."""

    def __init__(self, scale: float, shift: float = 0.0) -> None:
        super().__init__()
        self.linear = linear()
        self.scale = scale
        self.shift = torch.tensor([shift])
        self.names = ["a", "b"]

    def forward(self, x):
        return self.linear(x) * self.scale + self.shift


def quantised(value):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        model = nn.Sequential(linear(value))
        return torch.ao.quantization.quantize_dynamic(model, {nn.Linear}, dtype=torch.qint8)


def scripted(*numbers):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return torch.jit.script(Scaled(*numbers).eval())


def frozen_script(*numbers):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return torch.jit.freeze(scripted(*numbers))


@functools.cache
def exported(*numbers):
    return torch.export.export(Scaled(*numbers).eval(), (torch.zeros(3, 2),)).module()


def replaced(scale):
    model = Holds()
    model.forward = closure(scale)
    return model


def in_a_function(value, way):
    """A network or a callable of a class whose name is that of all others made here."""

    class Closed(Holds):
        def forward(self, x):
            return super().forward(x - value)

    class Defaulting(Holds):
        def forward(self, x, shift=value):
            return super().forward(x - shift)

    class Attributed(Holds):
        shift = value

    class Decorated(Holds):
        @torch.no_grad()
        def forward(self, x):
            return super().forward(x - value)

    class Called:
        def __call__(self, x):
            return x - value

    return Holds(act=Called()) if way == "called" else locals()[way]()


class InSlots(Holds):
    __slots__ = ("shift",)

    def __init__(self, shift) -> None:
        super().__init__()
        self.shift = shift


def replaced_in_torchs(scale):
    layer = linear()
    layer.forward = closure(scale)
    return layer


LAMBDAS = [lambda x: x, lambda x: -x]  # on one line

DIFFERENT = {
    "numbers": [lambda v: Holds(mean=v), (0.5, 0.25)],
    "whole numbers and others": [lambda v: Holds(mean=v), (1, 1.0, True, "1", None, 1j)],
    "plain tensors": [lambda v: Holds(mean=torch.tensor(v)), (0.5, 0.25)],
    "types of tensors": [lambda v: Holds(mean=torch.zeros(2, dtype=v)), (torch.int8, torch.bool)],
    "shapes": [lambda v: Holds(mean=torch.zeros(v)), ((2, 3), (3, 2))],
    "imaginary parts": [lambda v: Holds(mean=torch.tensor([1 + v * 1j])), (1, -1)],
    "arrays": [lambda v: Holds(mean=np.array([0.5, v])), (0.5, 0.25)],
    "objects in arrays": [lambda v: Holds(mean=np.array([None, v])), (0.5, 0.25)],
    "scalars of NumPy": [lambda v: Holds(mean=v), (np.float32(1), np.float64(1))],
    "lists and dicts": [lambda v: Holds(mean={"a": [1, (v, {2})]}), (1, 2)],
    "the order of a dict": [lambda v: Holds(steps=dict.fromkeys(v)), ("ab", "ba")],
    "dataclasses": [lambda v: Holds(settings=Settings(v)), (1.0, 2.0)],
    "slots": [lambda v: Holds(settings=Slotted(v)), (1.0, 2.0)],
    "partial functions": [lambda v: Holds(act=functools.partial(F.softmax, dim=v)), (0, 1)],
    "functions of torch": [lambda v: Holds(act=v), (F.relu, F.gelu, torch.relu, torch.tanh)],
    "classes": [lambda v: Holds(norm=v), (nn.LayerNorm, nn.BatchNorm2d)],
    "types": [lambda v: Holds(dtype=v), (torch.float32, torch.float16)],
    "closures": [lambda v: Holds(act=closure(v)), (1, 2)],
    "lambdas on one line": [lambda v: Holds(act=LAMBDAS[v]), (0, 1)],
    "bound methods": [lambda v: Holds(act=Settings(v).__eq__), (1, 2)],
    "cycles": [lambda v: Holds(mean=itself(v)), (1, 2)],
    "hidden weights": [lambda v: Holds(parts=[linear(v)]), (1.0, 2.0)],
    "what hidden networks keep": [lambda v: Holds(parts=[linear(scale=v)]), (1.0, 2.0)],
    "paths": [lambda v: Holds(path=Path(v)), ("a", "b")],
    "a forward of the instance": [replaced, (1, 2)],
    "a forward in torch's modules": [replaced_in_torchs, (1, 2)],
    "cached functions": [lambda v: Holds(act=functools.cache(closure(v))), (1, 2)],
    "slots of the network": [InSlots, (1, 2)],
    "closures of methods": [lambda v: in_a_function(v, "Closed"), (1, 2)],
    "defaults of methods": [lambda v: in_a_function(v, "Defaulting"), (1, 2)],
    "attributes of local classes": [lambda v: in_a_function(v, "Attributed"), (1, 2)],
    "decorated methods": [lambda v: in_a_function(v, "Decorated"), (1, 2)],
    "what local classes call": [lambda v: in_a_function(v, "called"), (1, 2)],
    "weights in a closure": [lambda v: in_a_function(linear(v), "Closed"), (1.0, 2.0)],
    "forward hooks": [lambda v: hooked(Holds(), v), (1, 2)],
    "hooks before": [lambda v: hooked(pinned(), v, "register_forward_pre_hook"), (1, 2)],
    "ways to call hooks": [lambda v: hooked(linear(), 1, with_kwargs=v), (False, True)],
    "tensors in place of weights": [lambda v: without_weight(torch.full((2, 2), v)), (1.0, 2.0)],
    "attributes of torch's modules": [lambda v: linear(scale=v), (1, 2)],
    "heads": [attention, (1, 2, 4)],
    "norm first": [lambda v: encoder(norm_first=v), (False, True)],
    "activations": [lambda v: encoder(activation=v), ("relu", "gelu")],
    "pooling": [lambda v: nn.AvgPool2d(2, ceil_mode=v), (False, True)],
    "padding that counts": [lambda v: nn.AvgPool1d(2, count_include_pad=v), (True, False)],
    "corners": [lambda v: nn.Upsample(scale_factor=2, align_corners=v), (None, True)],
    "recurrences": [lambda v: _rnn(v), ("tanh", "relu")],
    "quantised weights": [quantised, (1.0, 2.0)],
    "TorchScript": [lambda v: scripted(v), (1.0, 2.0)],
    "tensors of TorchScript": [lambda v: scripted(1.0, v), (1.0, 2.0)],
    "frozen TorchScript": [frozen_script, (1.0, 2.0)],
    "tensors of frozen TorchScript": [lambda v: frozen_script(1.0, v), (1.0, 2.0)],
    "graphs": [lambda v: torch.fx.symbolic_trace(Scaled(v)), (1.0, 2.0)],
    "exported programs": [exported, (1.0, 2.0)],
}  # fmt: skip


def _rnn(nonlinearity):
    torch.manual_seed(0)
    return nn.RNN(2, 2, nonlinearity=nonlinearity)


@pytest.mark.parametrize("name", DIFFERENT)
def test_networks_that_answer_differently_have_other_digests(name):
    make, values = DIFFERENT[name]
    digests = [digest(make(value)) for value in values]
    assert len(set(digests)) == len(values)
    assert digests == [digest(make(value)) for value in values]  # made anew
    model = make(values[0])
    found = digest(model)
    assert digest(model.train()) == digest(model.eval()) == found if _has_modes(name) else found


def _has_modes(name):
    return "exported" not in name and "frozen" not in name and "hidden" not in name


def test_complex_weights_count_whole():
    models = [nn.ParameterList([torch.tensor([1 + 2j, 3 + k * 1j]).conj()]) for k in (1, 2)]
    assert digest(models[0]) != digest(models[1])


class Annotated:
    """The attributes come in another order."""

    def __init__(self, *names) -> None:
        for name in names:
            setattr(self, name, name)


EQUAL = {
    "parallel": [Holds, lambda: DataParallel(Holds())],
    "compiled by torch": [Holds, lambda: torch.compile(Holds())],
    "both": [Holds, lambda: DataParallel(torch.compile(Holds()))],
    "attributes in another order": [lambda: Holds(a=1, b=2), lambda: Holds(b=2, a=1)],
    "of objects too": [lambda: Holds(a=Annotated("x", "y")), lambda: Holds(a=Annotated("y", "x"))],
    "sets": [lambda: Holds(a={"x", "y", 3}), lambda: Holds(a={3, "y", "x"})],
    "a copy": [lambda: Holds(a=[linear()]), lambda: copy.deepcopy(Holds(a=[linear()]))],
    "locks and devices": [
        lambda: Holds(a=threading.Lock(), b=torch.device("cpu")),
        lambda: Holds(a=threading.Lock(), b=torch.device("meta")),
    ],
    "its own parts in a list": [lambda: shared(Holds()), lambda: shared(Holds())],
}  # fmt: skip


def shared(model):
    model.parts = [model.linear, model.linear.weight, model]
    return model


@pytest.mark.parametrize("name", EQUAL)
def test_what_decides_nothing_does_not_count(name):
    one, other = EQUAL[name]
    assert digest(one()) == digest(other())


def test_a_network_that_torch_tells_all_of_keeps_its_digest():
    told = nn.Sequential(
        nn.Conv2d(1, 2, 3), nn.AvgPool2d(2), nn.Upsample(8), nn.ReLU(), nn.Flatten()
    )
    assert identify(told, "fp32").kept == {}
    assert identify(told, "fp32").digest == identify(told, "fp32").told
    model = Pinned(2, 2)
    model.note = 3  # its class says that nothing but tensors and settings decides
    assert identify(model, "fp32").kept == {}


def a_bit_of_all(program):
    return [
        Holds(
            a={"x", "y", "z"}, b=closure(2), c=LAMBDAS[1], d=Settings(1.0), e=F.relu,
            f=[linear(1.0)], g=np.arange(3), h=functools.partial(torch.softmax, dim=1),
            program=[torch.jit.load(program).eval()],
        ),
        torch.jit.load(program),
        quantised(1.0),
    ]  # fmt: skip


CODE = f"""
import sys
from {__name__} import Scaled, a_bit_of_all, digest, scripted
scripted(7.0)  # so that numbers of classes differ
print(*(digest(each) for each in a_bit_of_all(sys.argv[1])))
"""


def test_another_process_finds_the_same_digest(tmp_path):
    torch.jit.save(scripted(1.0, 2.0), tmp_path / "program.pt")
    here = [digest(each) for each in a_bit_of_all(tmp_path / "program.pt")]
    folders = Path(__file__).parents[:3]
    done = subprocess.run(
        [sys.executable, "-c", CODE, tmp_path / "program.pt"],
        env={**os.environ, "PYTHONHASHSEED": "7", "PYTHONPATH": os.pathsep.join(map(str, folders))},
        capture_output=True, text=True, cwd=tmp_path, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert done.stdout.split() == here


def test_what_has_no_digest_is_refused_by_name():
    exec("typed = lambda x: x", space := {})
    for value, what in [
        (io.TextIOWrapper(io.BytesIO()), "TextIOWrapper"),
        (space["typed"], "without source text"),
        (torch.zeros(2, device="meta"), "without values"),
        ({"deep": [1, (x for x in "ab")]}, "generator"),
    ]:
        model = nn.Sequential(Holds(tool=value))
        with pytest.raises(ModelError, match=what) as caught:
            digest(model)
        text = str(caught.value)
        assert text.startswith("0.tool of the model")
        assert "\n" not in text
        assert "registered buffer" in text
        assert 'identity="..."' in text


def test_a_network_hidden_in_training_mode_is_refused():
    hidden = nn.Linear(2, 2)
    model = Holds(parts=[hidden]).eval()
    with pytest.raises(ModelError, match=r"parts of the model hides a network .* nn.ModuleList"):
        ddrs.SmoothedClassifier(model, 2)
    hidden.eval()
    smoothed = ddrs.SmoothedClassifier(model, 2, n=50, n0=10)
    hidden.train()
    with pytest.raises(ModelError, match="training mode"):
        smoothed.certify(torch.zeros(1, 2))


def test_the_user_may_vouch():
    def named(model, identity):
        return ddrs.SmoothedClassifier(model, 2, n=50, n0=10, identity=identity)

    models = [Holds(tool=object() if k else threading.Event()) for k in range(2)]
    models[1].tool = (each for each in ())
    one, other = (named(model, "a tool") for model in models)
    assert one.digest == other.digest != named(models[0], "another tool").digest
    assert one.digest not in (digest(models[0]), identify(models[0], "fp32").told)
    assert len(other.certify(torch.zeros(1, 2))) == 1
    with torch.no_grad():
        models[1].linear.weight += 1
    with pytest.raises(ModelError, match="changed"):
        other.certify(torch.zeros(1, 2))
    for empty in ("", "  "):
        with pytest.raises(ConfigurationError, match="identity"):
            named(Holds(), empty)


def test_a_frozen_script_is_certified():
    program = frozen_script(1.0)
    smoothed = ddrs.SmoothedClassifier(program, 2, n=50, n0=10)
    assert len(smoothed.certify(torch.zeros(1, 2))) == 1


def test_an_attribute_that_changed_is_named():
    model = nn.Sequential(Holds(scale=[1.0]))
    smoothed = ddrs.SmoothedClassifier(model, 2, n=50, n0=10)
    model[0].scale[0] = 2.0
    with pytest.raises(ModelError, match=r"0\.scale of the model changed"):
        smoothed.certify(torch.zeros(1, 2))


def test_a_memory_of_an_earlier_version_is_named():
    model = Holds(scale=1.0)
    memory = ddrs.Memory("memory://")
    memory.bind(identify(model, "fp32").told, "gaussian")
    policy = ddrs.SearchSigma(0.5)
    with pytest.raises(StoreMismatchError, match="earlier version"):
        ddrs.SmoothedClassifier(model, 2, sigma=policy, memory=memory)
    with pytest.raises(StoreMismatchError, match="another model"):
        ddrs.SmoothedClassifier(linear(), 2, sigma=policy, memory=memory)


def test_the_configuration_of_transformers_counts(tmp_path):
    from ddrs import models
    from support.transformer import PROCESSOR, save, tiny_vit

    spec = save(tiny_vit(), tmp_path / "m", PROCESSOR)
    moved = save(tiny_vit(), tmp_path / "elsewhere", PROCESSOR)
    before = digest(models.load(spec).module)
    assert before == digest(models.load(moved).module)
    file = tmp_path / "m" / "config.json"
    config = json.loads(file.read_text())
    for changes, same in [
        ({"layer_norm_eps": 0.1}, False),
        ({"num_attention_heads": 4}, False),
        ({"_attn_implementation": "eager", "transformers_version": "0"}, True),
    ]:
        file.write_text(json.dumps(config | changes))
        assert (digest(models.load(spec).module) == before) == same


# Settings of torch's modules that decide nothing, or that the value of another one tells.
IDLE = {
    "transposed",
    "_reversed_padding_repeated_twice",
    "return_indices",
    "init",
    "name",
    "sparse",
}
IDLE |= {"min_val", "max_val", "value", "process_group", "inplace"}


def test_torchs_own_modules_tell_their_settings():
    from ddrs.networks.kept import NOT_TOLD, TOLD, UNTOLD

    seen = 0
    for kind in {each for each in vars(nn).values() if isinstance(each, type)} - {*NOT_TOLD}:
        room, _, file = kind.__module__.rpartition(".")
        if room != "torch.nn.modules" or file not in TOLD.split():
            continue
        if "Lazy" in kind.__name__ or "Upsampling" in kind.__name__:  # the last fix their settings
            continue
        module = _made(kind)
        if module is None:
            continue
        seen += 1
        for name in vars(module).keys() - vars(nn.Module()).keys() - IDLE - {*UNTOLD.get(kind, ())}:
            assert _tells(module, name), f"{kind.__name__}.{name}"
    assert seen > 70


def _made(kind):
    for arguments in [(), (2,), (2, 2), (4, 2), (2, 2, 2), (1, (2,)), (2, [1], 4)]:
        try:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")
                return kind(*arguments)
        except (TypeError, ValueError, IndexError, AssertionError):
            pass
    return None


def _tells(module, name):
    """Whether some value of an attribute changes what a module tells of itself."""
    before, told = vars(module)[name], module.extra_repr()
    for value in (not before, 17, "other", (5, 5), 0.3):
        vars(module)[name] = value
        try:
            if module.extra_repr() != told:
                return True
        except (TypeError, AttributeError, IndexError):
            return True
        finally:
            vars(module)[name] = before
    return name in ("_size", "_keys")
