"""What following the revocation log costs a guarded request, by leaving it out."""

from collections import defaultdict
from contextlib import ExitStack
from dataclasses import replace

from bench.cases.guarded import get
from bench.harness import abba
from bench.report import Outcome, Pace, paired
from bench.subjects import WATCHWORD, Env, prepare_watchword, running
from bench.support import PostgresServer


def measure(pace: Pace) -> Outcome:
    """The same app four times: on SQLite and on PostgreSQL, with the log and without."""
    outcome = Outcome("log", "Guarded requests with the revocation log and without, one core")
    server = PostgresServer()
    rates, cpu = defaultdict(list), defaultdict(list)
    try:
        with ExitStack() as stack:
            run = {}
            for kind in ("SQLite", "PostgreSQL"):
                for log in ("on", "off"):
                    url = server.database(f"log_{log}") if kind == "PostgreSQL" else ""
                    subject = replace(WATCHWORD, prepare=_prepared(url, log))
                    run[kind, log] = stack.enter_context(running(subject))
            bearers = {key: one.bearer() for key, one in run.items()}
            turns = [*run, *abba(list(run), pace.rounds)]
            for number, key in enumerate(turns):
                load = get(run[key], "/guarded", bearers[key], pace.seconds)
                if number >= len(run):  # the first pass warmed up
                    rates[key].append(load.rate)
                    cpu[key].append(load.cpu_us_each)
    finally:
        server.close()
    for kind in ("SQLite", "PostgreSQL"):
        on, off = (kind, "on"), (kind, "off")
        outcome.add(kind, "log on, requests/s", rates[on])
        outcome.add(kind, "log off, requests/s", rates[off])
        ratio = paired(cpu[off], cpu[on])
        outcome.add(kind, "on / off, by CPU", ratio)
        outcome.add(kind, "on / off, by rate", paired(rates[on], rates[off]))
        outcome.claim(f"guarded, log on / off, {kind}", sorted(ratio)[len(ratio) // 2], least=0.97)
    return outcome


def _prepared(url: str, log: str):
    def prepare(env: Env) -> None:
        if url:
            env["WATCHWORD_DATABASE_URL"] = url
        prepare_watchword(env)
        env["BENCH_LOG"] = log

    return prepare
