"""Without a connection: what was fetched before is used, and nothing is tried for a minute."""

from typing import Any

import datasets
import huggingface_hub
import pytest
from huggingface_hub import constants

from ddrs import data, models
from ddrs.errors import DataError, ModelError
from ddrs.online import hub


@pytest.fixture
def asked(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The addresses that were asked for, none of which answers."""
    found = []

    class Session:
        def head(self, url: str, **_: Any) -> None:
            found.append(url)
            raise OSError("Name or service not known")

    monkeypatch.setattr(huggingface_hub, "get_session", Session)
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", False)
    monkeypatch.setattr(datasets.config, "HF_HUB_OFFLINE", False)
    monkeypatch.setattr(constants, "ENDPOINT", "https://hub.invalid")
    return found


def test_a_model_or_dataset_that_is_not_here_is_said_to_be_so_at_once(asked: list[str]) -> None:
    expected = (
        r"hf:nobody/nothing was not fetched before, and https://hub\.invalid cannot be reached "
        r"\(Name or service not known\)"
    )
    with pytest.raises(ModelError, match=expected):
        models.load("hf:nobody/nothing")
    with pytest.raises(DataError, match=expected):
        data.load("hf:nobody/nothing")
    assert asked == ["https://hub.invalid"] * 2
    assert not constants.HF_HUB_OFFLINE
    assert not datasets.config.HF_HUB_OFFLINE


def test_what_was_fetched_before_is_used_offline(asked: list[str]) -> None:
    with hub("hf:x", ModelError):
        assert constants.is_offline_mode()
        assert datasets.config.HF_HUB_OFFLINE
    assert not constants.is_offline_mode()


def test_whoever_works_offline_is_not_asked(
    asked: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", True)
    with pytest.raises(KeyError), hub("hf:x", ModelError):
        raise KeyError
    assert asked == []
    assert constants.HF_HUB_OFFLINE


def test_an_answer_of_any_kind_is_a_connection(monkeypatch: pytest.MonkeyPatch) -> None:
    class Session:
        def head(self, url: str, **_: Any) -> int:
            return 503

    monkeypatch.setattr(huggingface_hub, "get_session", Session)
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", False)
    with hub("hf:x", ModelError):
        assert not constants.HF_HUB_OFFLINE
