"""Runs benchmarks and writes down what they found: `python -m bench.run guarded storm --quick`."""

import argparse
import importlib
import os
import signal
import sys
from types import FrameType
from typing import NoReturn

from rich.console import Console

from bench.harness import LOAD_CORE, SERVER_CORE, MissingError, busy_share, program
from bench.plot import draw
from bench.report import Outcome, Pace, show, write

NAMES = (
    "guarded", "logins", "storm", "tokens", "footprint", "transitions", "revocation", "log", "fleet",
    "scale",
)  # fmt: skip
QUIET = 0.1  # busier than this is worth a note beside the figures
QUICK = Pace(rounds=1, seconds=1)


def chosen_pace(chosen: argparse.Namespace) -> Pace:
    """Return the pace that the command line asked for."""
    return QUICK if chosen.quick else Pace(chosen.rounds, chosen.seconds)


def parse(words: list[str] | None = None) -> argparse.Namespace:
    """Read the command line."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("names", nargs="*", metavar="name", help=f"of {', '.join(NAMES)}; or all")
    parser.add_argument("--rounds", type=int, default=5, help="interleaved rounds (default 5)")
    parser.add_argument("--seconds", type=float, default=3, help="of each load (default 3)")
    parser.add_argument("--quick", action="store_true", help="one round of a second: does it run?")
    chosen = parser.parse_args(words)
    if unknown := set(chosen.names) - set(NAMES):
        parser.error(f"no benchmark is called {', '.join(sorted(unknown))}")
    return chosen


def main() -> int:
    """Run the chosen benchmarks; the exit status is 1 if a target was missed."""
    chosen = parse()
    # An installed package has its bytecode; without this every import would compile anew.
    os.environ.pop("PYTHONDONTWRITEBYTECODE", None)
    pace = chosen_pace(chosen)
    console = Console(width=None if sys.stdout.isatty() else 150)
    if (os.cpu_count() or 1) <= max(SERVER_CORE, LOAD_CORE):
        raise MissingError("two cores are needed: one for the server, one for the load")
    program("wrk", "wrk")
    # Whatever is started from here on is load, except where it is pinned elsewhere.
    os.sched_setaffinity(0, {LOAD_CORE})
    missed = False
    for name in chosen.names or NAMES:
        with console.status(f"{name}: {pace.rounds} rounds of {pace.seconds:g} s"):
            busy = busy_share()
            outcome: Outcome = importlib.import_module(f"bench.cases.{name}").measure(pace)
        if busy > QUIET:
            outcome.notes.append(
                f"Before it began, the machine was {busy:.0%} busy with other work."
            )
        show(outcome, console)
        if not chosen.quick:
            console.print(
                f"  written to {draw(outcome, write(outcome, pace)).with_suffix('').name}.*"
            )
        missed = missed or not all(claim.met for claim in outcome.claims)
    return int(missed)


def stop(number: int, _: FrameType | None) -> NoReturn:
    """End by way of every `with`, so that no server outlives the run that started it."""
    sys.exit(128 + number)


if __name__ == "__main__":
    signal.signal(signal.SIGTERM, stop)
    try:
        sys.exit(main())
    except MissingError as missing:
        sys.exit(str(missing))
