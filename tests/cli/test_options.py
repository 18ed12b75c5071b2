from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal

import pytest
import typer
from typer.testing import CliRunner

from ddrs.cli.options import given_options, named_values, numbers, options_of, read_options, takes
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


@dataclass(frozen=True)
class Inner:
    rate: float = field(default=0.5, metadata={"help": "Rate.", "flag": "--inner-rate"})


@dataclass(frozen=True)
class Settings:
    source: str = field(metadata={"help": "Source.", "metavar": "S"})
    hidden: int = 3
    count: int = field(default=7, metadata={"help": "Count.", "flag": "--many", "panel": "More"})
    kind: Literal["a", "b"] = field(default="a", metadata={"help": "Kind."})
    rows: int | Literal["auto"] = field(default="auto", metadata={"help": "Rows."})
    fast: bool = field(default=False, metadata={"help": "Fast."})
    flip: bool = field(default=True, metadata={"help": "Flip.", "flag": "--flip/--no-flip"})
    names: tuple[str, ...] = field(default=(), metadata={"help": "Name.", "flag": "--name"})
    radii: tuple[float, ...] | None = field(default=None, metadata={"help": "Radii."})
    epochs: Sequence[int] = field(default=(), metadata={"help": "Epochs."})
    extra: Mapping[str, Any] = field(default_factory=dict, metadata={"help": "Extra."})
    inner: Inner | None = field(default=None, metadata={"help": "Inner.", "panel": "Inner"})


def carried_out(*words: str) -> Any:
    """What a command with these options reads, or its error."""
    found = []
    app = typer.Typer()

    @app.command()
    @takes(options_of(Settings))
    def command(context: typer.Context, **values: Any) -> None:
        found.append(read_options(Settings, given_options(context, values)))

    done = CliRunner().invoke(app, words)
    return found[0] if found else done.exception


def test_only_what_is_given_is_read() -> None:
    assert carried_out("--source", "x") == {"source": "x"}
    assert carried_out("--source", "x", "--many", "7") == {"source": "x", "count": 7}


def test_every_kind_of_option_is_read_as_its_field_has_it() -> None:
    words = "--source x --many 2 --kind b --rows 5 --fast --no-flip --name p --name q"
    words += " --radii 0,0.5 --epochs 1,3 --extra k=4 --inner --inner-rate 0.1"
    assert carried_out(*words.split()) == {
        "source": "x", "count": 2, "kind": "b", "rows": 5, "fast": True, "flip": False,
        "names": ("p", "q"), "radii": (0.0, 0.5), "epochs": (1, 3), "extra": {"k": 4},
        "inner": Inner(0.1),
    }  # fmt: skip
    assert carried_out("--source", "x", "--inner")["inner"] == Inner()


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["--inner-rate", "1"], "--inner-rate is an option of --inner: add --inner"),
        (["--epochs", "1.5"], "--epochs takes whole numbers, got '1.5'"),
        (["--radii", "a"], "--radii takes numbers"),
    ],
)
def test_a_value_that_does_not_fit_is_refused_by_name(words: list[str], message: str) -> None:
    error = carried_out("--source", "x", *words)
    assert isinstance(error, ConfigurationError)
    assert message in str(error)


def test_a_field_without_a_default_is_required_and_one_without_help_is_no_option() -> None:
    assert isinstance(carried_out(), SystemExit)
    names = [option.name for option in options_of(Settings)]
    assert "hidden" not in names
    assert names[:2] == ["source", "many"]
    assert names[-2:] == ["inner", "inner_rate"]
    panels = {option.name: option.panel for option in options_of(Settings)}
    assert (panels["source"], panels["many"], panels["inner_rate"]) == (None, "More", "Inner")
