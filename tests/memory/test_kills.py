"""Processes that write at once, and processes that are killed: nothing that was said is lost.

`DDRS_KILLS` sets the number of kills over the life of one store; `make stress` sets it to many.
"""

import heapq
import os
import random
import signal
import time

import pytest

from ddrs.memory.memory import Memory
from ddrs.proof.certificate import ABSTAIN
from support.nursery import Nursery
from support.writer import BATCH, keep_writing, printed

KILLS = int(os.environ.get("DDRS_KILLS", "24"))
WRITERS = 3  # at any time


@pytest.fixture(scope="module")
def nursery():
    nursery = Nursery()
    yield nursery
    nursery.close()


@pytest.fixture(params=["sqlite", "postgresql"])
def url(request, tmp_path):
    if request.param == "sqlite":
        return f"sqlite:///{tmp_path}/memory.db"
    return request.getfixturevalue("postgres").database()


def all_printed(folder, writers):
    return [line for seed in range(writers) for line in printed(folder / f"{seed}.txt")]


def kept(url, answers):
    """The audit is clean, every answer that was given is there, and the entries are one row.

    Returns:
        The entries that no answer in `answers` is about.
    """
    with Memory(url) as memory:
        report = memory.audit()
        assert report.ok, report.violations[:3]
        entries = list(memory.entries())
        assert [entry.id for entry in entries] == list(range(1, len(entries) + 1))
        assert len(memory) == report.entries == len(entries)
    stored = {tuple(entry.point.x.tolist()): entry.resolution for entry in entries}
    given = {x: answer for x, answer in answers if answer.prediction != ABSTAIN}
    assert {x: stored.get(x) for x in given} == given
    # Two processes were given the same answer for the same input.
    assert all(answer == given[x] for x, answer in answers if answer.prediction != ABSTAIN)
    return [answer for x, answer in stored.items() if x not in given]


def test_no_kill_at_any_moment_loses_an_answer(nursery, url, tmp_path):
    moments = random.Random(0)
    alive = []
    for seed in range(KILLS + WRITERS):
        if len(alive) == WRITERS or seed >= KILLS:
            moment, child = heapq.heappop(alive)
            time.sleep(max(0.0, moment - time.monotonic()))
            os.kill(child, signal.SIGKILL)
            assert nursery.wait(child) == -signal.SIGKILL  # it was still at work
        if seed < KILLS:
            child = nursery.fork(keep_writing, url, seed, str(tmp_path / f"{seed}.txt"))
            heapq.heappush(alive, (time.monotonic() + moments.uniform(0.05, 0.5), child))
    answers = all_printed(tmp_path, KILLS)
    assert len(answers) > KILLS
    unheard = [entry.evidence.split()[0] for entry in kept(url, answers)]
    # A kill between the commit and the print leaves one call's answers that nobody heard.
    assert all(unheard.count(seed) <= BATCH for seed in set(unheard))


@pytest.mark.parametrize("writers", [1, 2, 4])
def test_writers_at_once_are_given_answers_that_stand_together(nursery, url, tmp_path, writers):
    calls = 120 // writers
    children = [
        nursery.fork(keep_writing, url, seed, str(tmp_path / f"{seed}.txt"), calls)
        for seed in range(writers)
    ]
    assert [nursery.wait(child) for child in children] == [0] * writers
    answers = all_printed(tmp_path, writers)
    assert len(answers) > 300
    assert kept(url, answers) == []
    outcomes = {answer.outcome for _, answer in answers}
    assert outcomes == {"own", "trimmed", "inherited", "abstained"}
