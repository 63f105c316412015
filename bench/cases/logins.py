"""How near logins come to the bare hash rate, which nothing can pass."""

import subprocess
import sys
from collections import defaultdict
from urllib.parse import urlencode

from bench.harness import ROOT, SERVER_CORE, Load, abba, start_wrk
from bench.report import Outcome, Pace, paired
from bench.subjects import FASTAPI_USERS, TUTORIAL, WATCHWORD, Running, all_running

CEILING, SHARE = "bare Argon2id", "of the ceiling"
HASH_THREADS = 1  # as many as Watchword hashes on, which is one for each core it may use


def bare_rate(seconds: float) -> float:
    """Return hashes per second on the server's core with nothing around them."""
    command = ["taskset", "-c", str(SERVER_CORE), sys.executable, "-m", "bench.hashrate"]
    chosen = ["--threads", str(HASH_THREADS), "--seconds", str(seconds)]
    return float(subprocess.check_output([*command, *chosen], cwd=ROOT, text=True))


def login_load(one: Running, seconds: float) -> Load:
    """Let sixteen clients log in over and over; one that is refused tries again at once."""
    env = {"BENCH_BODY": urlencode(one.login_form())}
    path = one.subject.login_path
    return start_wrk(one.server, path, seconds, script="post.lua", env=env).wait()


def measure(pace: Pace) -> Outcome:
    """Log in to every subject in turn, with the bare rate measured in between."""
    outcome = Outcome("logins", "Password logins against the bare hash rate, one core")
    rates, refused = defaultdict(list), defaultdict(list)
    seconds = max(pace.seconds, 2.0)
    with all_running([WATCHWORD, TUTORIAL, FASTAPI_USERS], outcome.notes) as servers:
        for one in servers:
            one.login()
        for item in abba([None, *servers], pace.rounds):
            name = item.subject.name if item else CEILING
            if item is None:
                rates[name].append(bare_rate(seconds))
                continue
            load = login_load(item, seconds)
            rates[name].append(load.rate)
            refused[name].append(load.failed / load.seconds)
    for name, values in rates.items():
        outcome.add(name, "logins/s", values)
        outcome.add(name, SHARE, paired(values, rates[CEILING]))
        outcome.add(name, "refused/s", refused[name])
    if ours := outcome.find("watchword", SHARE):
        outcome.claim("logins / bare hashes", ours.median, least=0.9)
    outcome.notes.append(
        "Argon2id, 19 MiB, 2 passes, 1 lane for everyone; the bare rate "
        "on one thread, as many as Watchword takes on one core. A refused login is tried again at once."
    )
    return outcome
