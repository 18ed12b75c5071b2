import re

import pytest

from ddrs.display.progress import ProgressBar, duration


def test_a_bar_shows_how_far_and_how_fast(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("FORCE_COLOR", "1")
    monkeypatch.setenv("COLUMNS", "160")
    with ProgressBar("certify digits", 1000, "votes") as bar:
        bar.advance(250)
        bar.reach(1000)
        bar.note("5/5 inputs")
    shown = re.sub(r"\x1b\[[0-9;?]*[A-Za-z]", "", capsys.readouterr().err)
    assert "certify digits" in shown
    assert "100%" in shown
    assert re.search(r"[\d,]+ votes/s", shown)
    assert "5/5 inputs" in shown


def test_a_quiet_bar_shows_nothing(capsys: pytest.CaptureFixture[str]) -> None:
    with ProgressBar("certify digits", 10, "votes", quiet=True) as bar:
        bar.advance(10)
    assert capsys.readouterr() == ("", "")


def test_a_bar_begins_again(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("FORCE_COLOR", "1")
    monkeypatch.setenv("COLUMNS", "160")
    with ProgressBar("epoch 1/2", 10, "img") as bar:
        bar.advance(10)
        bar.restart("epoch 2/2", 40)
        bar.advance(10)
    shown = re.sub(r"\x1b\[[0-9;?]*[A-Za-z]", "", capsys.readouterr().err)
    assert re.search(r"epoch 2/2\D*25%", shown)


@pytest.mark.parametrize(
    ("seconds", "words"),
    [(0.4, "0 s"), (99, "99 s"), (101, "2 min"), (5900, "98 min"), (9000, "2.5 h")],
)
def test_a_duration_in_words(seconds: float, words: str) -> None:
    assert duration(seconds) == words
