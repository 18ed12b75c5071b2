"""The stopwatch of the profile, on a clock that the test turns."""

import threading

from benchmarks.stages import Stopwatch, by_stage


class Clock:
    def __init__(self) -> None:
        self.now = 0.0

    def __call__(self) -> float:
        return self.now


def test_time_belongs_to_the_innermost_stage() -> None:
    clock = Clock()
    watch = Stopwatch(clock)
    clock.now = 5.0  # outside of every stage: nobody's
    with watch.stage("count"):
        clock.now += 1
        with watch.stage("noise"):
            clock.now += 2
        with watch.stage("forward"):
            clock.now += 4
        clock.now += 8
    clock.now += 16
    assert watch.seconds == {("count",): 9.0, ("count", "noise"): 2.0, ("count", "forward"): 4.0}


def test_a_stage_ends_when_it_fails() -> None:
    clock = Clock()
    watch = Stopwatch(clock)
    try:
        with watch.stage("memory"):
            clock.now += 1
            raise OSError
    except OSError:
        clock.now += 1
    with watch.stage("writing"):
        clock.now += 1
    assert watch.seconds == {("memory",): 1.0, ("writing",): 1.0}


def test_other_threads_are_not_on_the_clock() -> None:
    clock = Clock()
    watch = Stopwatch(clock)

    def draw() -> None:
        with watch.stage("noise"):
            clock.now += 3

    with watch.stage("count"):
        thread = threading.Thread(target=draw)
        thread.start()
        thread.join()
    assert watch.seconds == {("count",): 3.0}
    assert watch.aside == {"noise": 3.0}


def test_all_of_the_search_is_one_stage() -> None:
    seconds = {
        ("everything else",): 1.0,
        ("everything else", "count", "forward"): 2.0,
        ("everything else", "search of sigma"): 4.0,
        ("everything else", "search of sigma", "count", "forward"): 8.0,
    }
    assert by_stage(seconds) == {"everything else": 1.0, "forward": 2.0, "search of sigma": 12.0}
