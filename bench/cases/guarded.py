"""What a guard costs: the guarded route against the same route unguarded, in the same app."""

from collections import defaultdict

from bench.harness import abba, start_wrk
from bench.report import Outcome, Pace, paired
from bench.subjects import (
    AUTHX,
    FASTAPI_USERS,
    TUTORIAL,
    TUTORIAL_REDIS,
    WATCHWORD,
    all_running,
)

OPEN, GUARDED = "/open", "/guarded"
RATIO, OVERHEAD = "guarded / open", "guard, CPU us"


def measure(pace: Pace) -> Outcome:
    """Load both routes of every subject in turn."""
    outcome = Outcome("guarded", "Guarded route against the same route unguarded, one core")
    rates, cpu = defaultdict(list), defaultdict(list)
    subjects = [WATCHWORD, TUTORIAL, TUTORIAL_REDIS, FASTAPI_USERS, AUTHX]
    with all_running(subjects, outcome.notes) as servers:
        bearers = {one.subject.name: one.bearer() for one in servers}
        pairs = [(one, path) for one in servers for path in (OPEN, GUARDED)]
        for number, (one, path) in enumerate([*pairs, *abba(pairs, pace.rounds)]):
            headers = bearers[one.subject.name]
            # The open route gets the header too, so that both parse the same bytes.
            load = start_wrk(one.server, path, pace.seconds, headers=headers).wait().clean()
            if number >= len(pairs):  # the first pass warmed up
                rates[one.subject.name, path].append(load.rate)
                cpu[one.subject.name, path].append(load.cpu_us_each)
        names = [one.subject.name for one in servers]
    for name in names:
        outcome.add(name, "open, requests/s", rates[name, OPEN])
        outcome.add(name, "guarded, requests/s", rates[name, GUARDED])
        outcome.add(name, RATIO, paired(rates[name, GUARDED], rates[name, OPEN]))
        both = zip(cpu[name, GUARDED], cpu[name, OPEN], strict=True)
        outcome.add(name, OVERHEAD, [guarded - unguarded for guarded, unguarded in both])
    claim(outcome)
    outcome.notes.append(
        "Each design with its own algorithm: watchword ES256 with instant revocation, the others "
        "HS256; the tutorial revokes by a set in one process or by Redis, fastapi-users and "
        "authx as set up here do not revoke. CPU includes Redis."
    )
    return outcome


def claim(outcome: Outcome) -> None:
    """Hold Watchword against its two targets."""
    ours, theirs = (outcome.find(name, "guarded, requests/s") for name in ("watchword", "tutorial"))
    ratio = outcome.find("watchword", RATIO)
    if ours and theirs and ratio:
        outcome.claim("guarded / open", ratio.median, least=0.90)
        outcome.claim("guarded / tutorial's guarded", ours.median / theirs.median, least=1.5)
