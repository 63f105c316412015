"""Five thousand guards in simulated time, in bad weather: is anybody let in too late?"""

from bench.fleet import Fleet, Weather
from bench.report import Outcome, Pace

GUARDS, SECONDS, DECISIONS, REVOCATIONS = 5_000, 20.0, 2_000_000, 100


def measure(pace: Pace) -> Outcome:
    """Simulate once a round, each time with other chances."""
    outcome = Outcome("fleet", f"{GUARDS:,} guards in bad weather, simulated")
    full = pace.seconds > 1
    size = {"guards": GUARDS if full else 200, "decisions": DECISIONS if full else 50_000}
    found = [
        Fleet(**size, seconds=SECONDS, seed=seed, tokens=REVOCATIONS, weather=Weather(hints=0.1)).run()
        for seed in range(min(pace.rounds, 3))
    ]  # fmt: skip
    late = sum(one.late for one in found)
    made = sum(one.decisions for one in found)
    name = "watchword"
    outcome.add(name, "decisions", [one.decisions for one in found])
    outcome.add(name, "too late", [one.late for one in found])
    outcome.add(name, "latest, s", [one.worst for one in found])
    outcome.add(name, "undecided, %", [100 * one.undecided / one.decisions for one in found])
    outcome.claim("accepted later than the bound", late, most=0)
    outcome.claim("decisions", made, least=1_000_000 if full else 1)
    outcome.notes.append(
        "The real follower on an event loop whose clock jumps. max_stale 2 s; a message in twenty "
        "is lost and one in twenty is late by up to 4 s; a tenth of the guards is cut off or "
        "stopped for up to 6 s at a time; the database fails over. Undecided are answered 503."
    )
    return outcome
