"""The promises of a fleet of guards as invariants of a simulation; see bench/fleet.py.

The full size, five thousand guards and millions of decisions, is `make bench ONLY=fleet`.
"""

from __future__ import annotations

from dataclasses import replace

import pytest
from bench import fleet
from bench.fleet import Fleet, Weather, Wire

FINE = Weather(lost=0, slow=0, hints=1, partitions=0.001, pauses=0.001, failovers=0.001)


def seen(seed: int, **more) -> fleet.Seen:
    size = {"guards": 60, "seconds": 25, "decisions": 100_000, "tokens": 250}
    return Fleet(seed=seed, **{**size, **more}).run()


@pytest.mark.attack("Z-16", "V-01")
@pytest.mark.parametrize("seed", range(3))
def test_nobody_is_let_in_beyond_the_bound_whatever_the_weather(seed):
    found = seen(seed)
    assert found.late == 0
    assert found.decisions > 80_000
    assert found.refused > 1000
    assert found.undecided > 100  # the weather was bad enough that some could not know
    assert found.accepted > found.undecided
    assert found.storms["pauses"] > 0


def test_in_fine_weather_all_decide_and_revocations_arrive_at_once():
    found = seen(1, weather=FINE)
    assert found.late == found.undecided == 0
    assert found.worst < 0.1


def test_without_hints_only_the_time_it_takes_is_another():
    found = seen(2, weather=replace(FINE, hints=0))
    assert found.late == found.undecided == 0
    assert 0.1 < found.worst < 0.6  # a quarter of the bound, and the way there and back


def test_a_source_that_does_not_tell_its_age_is_found_out(monkeypatch):
    """The simulation can fail: answers as old as the bound, given out as new."""
    real = Wire.tail
    kept: dict[Wire, list] = {}

    async def old(self, after, epoch):
        found = await real(self, 0, -1)
        behind = kept.setdefault(self, [])
        behind.append((self._fleet.loop.time(), found))
        while len(behind) > 1 and behind[1][0] < self._fleet.loop.time() - 1.5:
            behind.pop(0)
        return behind[0][1]

    monkeypatch.setattr(Wire, "tail", old)
    assert seen(3).late > 0
