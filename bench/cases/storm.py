"""What users who are already in feel while others log in: guarded p99 in a storm, against idle."""

import json
import os
import subprocess
import sys
import time
from collections import defaultdict
from urllib.parse import urlencode

from bench.harness import ROOT, abba, start_wrk
from bench.report import Outcome, Pace, paired
from bench.subjects import TUTORIAL, WATCHWORD, Running, all_running

CLIENTS, RATE = 32, 150
BUILD_UP = 1.0  # seconds until every client waits for its hash
RATIO = "p99 storm / idle"


def probe(one: Running, token: str, seconds: float) -> dict[str, float]:
    """Send guarded requests by the clock and return their latencies in milliseconds."""
    command = [sys.executable, "-m", "bench.probe", one.server.url("/guarded")]
    chosen = ["--rate", str(RATE), "--seconds", str(seconds)]
    env = {**os.environ, "BENCH_TOKEN": token}
    printed = subprocess.check_output([*command, *chosen], cwd=ROOT, env=env, text=True)
    return dict(json.loads(printed))


def probe_in_storm(one: Running, token: str, seconds: float) -> dict[str, float]:
    """Probe while 32 clients log in over and over; the answer has their rate as `logins`."""
    env = {"BENCH_BODY": urlencode(one.login_form())}
    storm = start_wrk(
        one.server,
        one.subject.login_path,
        BUILD_UP + seconds + 15,  # stopped by hand; this is the bound
        connections=CLIENTS,
        script="post.lua",
        env=env,
    )
    try:
        time.sleep(BUILD_UP)
        seen = probe(one, token, seconds)
    finally:
        load = storm.stop()
    return {**seen, "logins": load.rate, "shed": load.failed / load.seconds}


def settle(one: Running) -> None:
    """Wait until the clients of the storm, who are gone, are no longer in anybody's way.

    Raises:
        RuntimeError: the server still refuses a single login after half a minute.
    """
    deadline = time.monotonic() + 30
    while True:
        try:
            one.login()
        except RuntimeError:
            if time.monotonic() > deadline:
                raise
            time.sleep(0.5)
        else:
            return


def measure(pace: Pace) -> Outcome:
    """Probe every subject idle and in a storm, in turn."""
    outcome = Outcome("storm", f"Guarded requests while {CLIENTS} clients log in, one core")
    seen: dict[tuple[str, str], list[float]] = defaultdict(list)
    with all_running([WATCHWORD, TUTORIAL], outcome.notes) as servers:
        for one in abba(servers, pace.rounds):
            name, token = one.subject.name, one.login()["access_token"]
            idle = probe(one, token, pace.seconds)
            storm = probe_in_storm(one, token, pace.seconds)
            seen[name, "idle p99, ms"].append(idle["p99"])
            for measured, key in (("p50", "p50"), ("p99", "p99"), ("max", "max")):
                seen[name, f"storm {measured}, ms"].append(storm[key])
            seen[name, "unanswered"].append(storm["failed"] / storm["sent"])
            seen[name, "logins/s"].append(storm["logins"])
            seen[name, "refused logins/s"].append(storm["shed"])
            settle(one)
    for (name, measured), values in seen.items():
        outcome.add(name, measured, values)
    for name in dict.fromkeys(name for name, _ in seen):
        outcome.add(name, RATIO, paired(seen[name, "storm p99, ms"], seen[name, "idle p99, ms"]))
    if ours := outcome.find("watchword", RATIO):
        outcome.claim("guarded p99, storm / idle", ours.median, most=3)
    outcome.notes.append(
        f"{RATE} guarded requests/s by the clock; latency counts from the moment a request was "
        "due, and an unanswered one counts as long as it waited. A refused login is tried again at once."
    )
    return outcome
