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

RSS, START, FIRST = "RSS, MiB", "start to first answer, s", "on fresh state, s"
GUARD = "from watchword import Guard"
ALONE, ADDED = "alone, CPU ms", "on top of FastAPI, CPU ms"
TIMER = """
import sys, time
if sys.argv[1]: exec(sys.argv[1])
begin = time.process_time()
exec(sys.argv[2])
print(1000 * (time.process_time() - begin))
"""


def import_ms(statement: str, after: str = "") -> float:
    """Return the CPU milliseconds of an import in a fresh interpreter that ran `after` first."""
    command = ["taskset", "-c", str(SERVER_CORE), sys.executable, "-c", TIMER, after, statement]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    if done.returncode:
        raise MissingError(done.stderr.strip().rpartition("\n")[2])
    return float(done.stdout)


def start(subject: Subject) -> dict[str, float]:
    """Start twice over one state, then read the memory after one guarded request or token."""
    with running(subject, twice=True) as one:
        if subject is NODE_OIDC:
            ask(one.server.url("/token"), {"grant_type": "client_credentials"}, one.basic())
        else:
            ask(one.server.url("/guarded"), headers=one.bearer())
        return {START: one.server.started, FIRST: one.first_start, RSS: one.server.rss_mib()}


def measure(pace: Pace) -> Outcome:
    """Start every subject in turn; import the guard in between."""
    outcome = Outcome("footprint", "One idle worker")
    seen: dict[tuple[str, str], list[float]] = defaultdict(list)
    absent: dict[str, str] = {}
    subjects = [WATCHWORD, TUTORIAL, FASTAPI_USERS, AUTHX, NODE_OIDC]
    for subject in abba(subjects, pace.rounds):
        try:
            found = start(subject)
        except MissingError as missing:
            absent[subject.name] = str(missing)
            continue
        for measured, value in found.items():
            seen[subject.name, measured].append(value)
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
        if figure := outcome.find(name, measured):
            outcome.claim(f"{name}: {measured}", figure.median, most=most)
    outcome.notes.append(
        "RSS is read after one request. On fresh state means the first start ever: there "
        "watchword makes its signing keys, of which the RSA key takes a random time."
    )
    return outcome
