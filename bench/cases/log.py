"""What following the revocation log costs a guarded request, by leaving it out."""

from collections import defaultdict
from contextlib import ExitStack
from dataclasses import replace

from bench.cases.guarded import get
from bench.harness import abba, ask
from bench.report import Outcome, Pace, paired
from bench.subjects import WATCHWORD, Env, prepare_watchword, running
from bench.support import PostgresServer

TURNS = 3  # times as many rounds as elsewhere, because what is sought is small


def measure(pace: Pace) -> Outcome:
    """One process on SQLite and one on PostgreSQL, each with the log and without, in turns."""
    outcome = Outcome("log", "Guarded requests with the revocation log and without, one core")
    server = PostgresServer()
    rates, cpu = defaultdict(list), defaultdict(list)
    try:
        with ExitStack() as stack:
            run = {}
            for kind, url in (("SQLite", ""), ("PostgreSQL", server.database("log"))):
                subject = replace(WATCHWORD, prepare=_prepared(url))
                run[kind] = stack.enter_context(running(subject))
            bearers = {kind: one.bearer() for kind, one in run.items()}
            pairs = [(kind, log) for kind in run for log in ("on", "off")]
            for number, (kind, log) in enumerate([*pairs, *abba(pairs, TURNS * pace.rounds)]):
                ask(run[kind].server.url(f"/log/{log}"))
                load = get(run[kind], "/guarded", bearers[kind], pace.seconds)
                if number >= len(pairs):  # the first pass warmed up
                    rates[kind, log].append(load.rate)
                    cpu[kind, log].append(load.cpu_us_each)
    finally:
        server.close()
    for kind in run:
        on, off = (kind, "on"), (kind, "off")
        outcome.add(kind, "log on, requests/s", rates[on])
        outcome.add(kind, "log off, requests/s", rates[off])
        ratio = paired(cpu[off], cpu[on])
        outcome.add(kind, "on / off, by CPU", ratio)
        outcome.add(kind, "on / off, by rate", paired(rates[on], rates[off]))
        outcome.claim(f"guarded, log on / off, {kind}", sorted(ratio)[len(ratio) // 2], least=0.97)
    return outcome


def _prepared(url: str):
    def prepare(env: Env) -> None:
        if url:
            env["WATCHWORD_DATABASE_URL"] = url
        prepare_watchword(env)

    return prepare
