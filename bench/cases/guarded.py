"""What a guard costs: the guarded route against the same route unguarded, in the same app."""

from collections import defaultdict

from bench.harness import Load, abba, start_wrk
from bench.report import Outcome, Pace, paired
from bench.subjects import (
    AUTHX,
    EMPTY_GUARD,
    FASTAPI_USERS,
    TUTORIAL,
    TUTORIAL_REDIS,
    WATCHWORD,
    Running,
    all_running,
)

# FastAPI tries its routes in order, a few microseconds each; the open ones stand on both sides of
# the guarded one, so that its place in the list cancels out.
OPEN, GUARDED = "/open /open-after", "/guarded"
CONNECTIONS = 64  # sixteen left the server idle for a sixth of the time
RATIO, BY_CPU = "guarded / open", "the same by CPU"


def get(one: Running, paths: str, headers: dict[str, str], seconds: float) -> Load:
    """Load some paths in turn; the open ones get the token too, so that all parse the same bytes."""
    env = {"BENCH_PATHS": paths}
    storm = start_wrk(
        one.server,
        "/",
        seconds,
        connections=CONNECTIONS,
        headers=headers,
        script="get.lua",
        env=env,
    )
    return storm.wait().clean()


def measure(pace: Pace) -> Outcome:
    """Load both routes of every subject in turn."""
    outcome = Outcome("guarded", "Guarded route against the same route unguarded, one core")
    rates, cpu = defaultdict(list), defaultdict(list)
    subjects = [WATCHWORD, EMPTY_GUARD, TUTORIAL, TUTORIAL_REDIS, FASTAPI_USERS, AUTHX]
    with all_running(subjects, outcome.notes) as servers:
        bearers = {one.subject.name: one.bearer() for one in servers}
        pairs = [(one, paths) for one in servers for paths in (OPEN, GUARDED)]
        for number, (one, paths) in enumerate([*pairs, *abba(pairs, pace.rounds)]):
            name = one.subject.name
            load = get(one, paths, bearers[name], pace.seconds)
            if number >= len(pairs):  # the first pass warmed up
                rates[name, paths].append(load.rate)
                cpu[name, paths].append(load.cpu_us_each)
        names = [one.subject.name for one in servers]
    for name in names:
        outcome.add(name, "open, requests/s", rates[name, OPEN])
        outcome.add(name, "guarded, requests/s", rates[name, GUARDED])
        outcome.add(name, RATIO, paired(rates[name, GUARDED], rates[name, OPEN]))
        before, after = cpu[name, OPEN], cpu[name, GUARDED]
        outcome.add(name, "open, CPU us", before)
        outcome.add(name, "guarded, CPU us", after)
        outcome.add(name, BY_CPU, paired(before, after))
    claim(outcome)
    outcome.notes.append(
        "Each design with its own algorithm: watchword ES256 with instant revocation, the others "
        "HS256; the tutorial revokes by a set in one process or by Redis, fastapi-users and "
        "authx as set up here do not revoke. CPU includes Redis. The empty guard is one async "
        "dependency that does nothing: no guard in FastAPI can cost less."
    )
    return outcome


def claim(outcome: Outcome) -> None:
    """Hold Watchword against its targets, by rate and by CPU time: other work disturbs the first."""
    for measured, why in ((RATIO, "by rate"), (BY_CPU, "by CPU")):
        if ratio := outcome.find("watchword", measured):
            outcome.claim(f"guarded / open, {why}", ratio.median, least=0.90)
    ours, theirs = (outcome.find(name, "guarded, requests/s") for name in ("watchword", "tutorial"))
    if ours and theirs:
        outcome.claim("guarded / tutorial's, by rate", ours.median / theirs.median, least=1.5)
    ours, theirs = (outcome.find(name, "guarded, CPU us") for name in ("watchword", "tutorial"))
    if ours and theirs:
        outcome.claim("guarded / tutorial's, by CPU", theirs.median / ours.median, least=1.5)
