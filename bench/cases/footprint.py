"""What the app pays before any load: memory, import, start."""

import subprocess
import sys
from collections import defaultdict

from bench.harness import ROOT, SERVER_CORE, MissingError, abba, ask
from bench.report import Outcome, Pace
from bench.subjects import (
    AUTHX,
    FASTAPI_USERS,
    NODE_OIDC,
    TUTORIAL,
    WATCHWORD,
    Subject,
    running,
)

RSS, START = "RSS, MiB", "start to first answer, s"
GUARD = "from watchword import Guard"
ALONE, ADDED = "alone, ms", "on top of FastAPI, ms"
TIMER = """
import sys, time
if sys.argv[1]: exec(sys.argv[1])
begin = time.perf_counter()
exec(sys.argv[2])
print(1000 * (time.perf_counter() - begin))
"""


def import_ms(statement: str, after: str = "") -> float:
    """Return the milliseconds an import takes in a fresh interpreter that ran `after` first."""
    command = ["taskset", "-c", str(SERVER_CORE), sys.executable, "-c", TIMER, after, statement]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    if done.returncode:
        raise MissingError(done.stderr.strip().rpartition("\n")[2])
    return float(done.stdout)


def start_once(subject: Subject) -> tuple[float, float]:
    """Return seconds to the first answer, and MiB after one guarded request or token."""
    with running(subject) as one:
        if subject is NODE_OIDC:
            ask(one.server.url("/token"), {"grant_type": "client_credentials"}, one.basic())
        else:
            ask(one.server.url("/guarded"), headers=one.bearer())
        return one.server.started, one.server.rss_mib()


def measure(pace: Pace) -> Outcome:
    """Start every subject in turn; import the guard in between."""
    outcome = Outcome("footprint", "One idle worker")
    seen: dict[tuple[str, str], list[float]] = defaultdict(list)
    absent: dict[str, str] = {}
    subjects = [WATCHWORD, TUTORIAL, FASTAPI_USERS, AUTHX, NODE_OIDC]
    for subject in abba(subjects, pace.rounds):
        try:
            started, rss = start_once(subject)
        except MissingError as missing:
            absent[subject.name] = str(missing)
            continue
        seen[subject.name, START].append(started)
        seen[subject.name, RSS].append(rss)
    try:
        for _ in range(max(3, pace.rounds)):
            seen["import fastapi", ALONE].append(import_ms("import fastapi"))
            seen[GUARD, ALONE].append(import_ms(GUARD))
            seen[GUARD, ADDED].append(import_ms(GUARD, after="import fastapi"))
    except MissingError as missing:
        outcome.notes.append(f"the import was left out: {missing}")
    outcome.notes += [f"{name} was left out: {why}" for name, why in absent.items()]
    for (name, measured), values in seen.items():
        outcome.add(name, measured, values)
    limits = (("watchword", RSS, 90.0), ("watchword", START, 1.5), (GUARD, ADDED, 50.0))
    for name, measured, most in limits:
        if found := outcome.find(name, measured):
            outcome.claim(f"{name}: {measured}", found.median, most=most)
    outcome.notes.append("RSS is read after one request. The database was made before the start.")
    return outcome
