import sys
from pathlib import Path
from typing import Any

import pytest
from safetensors.torch import save_file

from ddrs import models
from ddrs.errors import ConfigurationError, ModelError
from ddrs.networks import architectures
from support.networks import assert_same, trained

FACTORIES = """
from torch import nn
number = 3
def good():
    from ddrs.networks.architectures import digits_cnn
    return digits_cnn(4)
def bad():
    raise KeyError("no such\\nthing")
def none():
    return None
"""


@pytest.fixture
def package(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Any:
    """A directory to stand in with a module of the user's."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "users_models.py").write_text(FACTORIES)
    (tmp_path / "users_broken.py").write_text("import no_such_package")
    (tmp_path / "users_typo.py").write_text("def f(:")
    yield
    for name in [n for n in sys.modules if n.startswith("users_")]:
        del sys.modules[name]


def test_a_factory_of_the_current_directory(package: Any, tmp_path: Path) -> None:
    save_file(trained().state_dict(), tmp_path / "w.safetensors")
    path = list(sys.path)
    loaded = models.load("py:users_models:good", "w.safetensors", num_classes=4)
    assert_same(loaded.module, trained())
    assert not loaded.module.training
    assert (loaded.num_classes, loaded.sigma, loaded.input_shape) == (4, None, None)
    assert models.load("py:users_models:good").num_classes is None
    assert sys.path == path


def test_a_factory_of_an_installed_package() -> None:
    module = models.load("py:ddrs.networks.architectures:resnet20").module
    assert isinstance(module, architectures.CifarResNet)


@pytest.mark.parametrize(
    ("name", "error", "message"),
    [
        ("users_models", ConfigurationError, "incomplete: write py:package.module:factory"),
        ("users_models:", ConfigurationError, "incomplete"),
        ("users_absent:f", ConfigurationError, "cannot import users_absent: No module"),
        ("users_broken:f", ConfigurationError, "cannot import users_broken: .*no_such_package"),
        ("users_typo:f", ModelError, "py:users_typo:f cannot be loaded: SyntaxError"),
        ("users_models:f", ConfigurationError, "users_models has no function f"),
        ("users_models:number", ConfigurationError, "users_models has no function number"),
        ("users_models:none", ModelError, "returned NoneType, not a torch.nn.Module"),
        ("users_models:bad", ModelError, r"cannot be loaded: KeyError: 'no such\\nthing'"),
    ],
)
def test_a_factory_that_fails(package: Any, name: str, error: type, message: str) -> None:
    path = list(sys.path)
    with pytest.raises(error, match=message):
        models.load(f"py:{name}")
    assert sys.path == path
