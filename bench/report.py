"""What a benchmark found, and the three ways it is written down: table, JSON, Markdown."""

import importlib.metadata
import json
import os
import platform
import re
import shutil
import statistics
import subprocess
import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path

from rich.console import Console
from rich.table import Table

RESULTS = Path(__file__).resolve().parent / "results"
LIBRARIES = (
    "watchword fastapi starlette uvicorn uvloop httptools cryptography argon2-cffi pyjwt "
    "fastapi-users authx sqlalchemy aiosqlite redis"
)


@dataclass(frozen=True)
class Pace:
    """How long and how often each load runs."""

    rounds: int
    seconds: float


@dataclass(frozen=True)
class Figure:
    """One measure of one subject, with a value for each round."""

    subject: str
    measure: str
    values: Sequence[float]

    @property
    def median(self) -> float:
        """The middle of the rounds."""
        return statistics.median(self.values)

    def __str__(self) -> str:
        low, high = number(min(self.values)), number(max(self.values))
        middle = number(self.median)
        return middle if low == high else f"{middle} ({low}..{high})"


@dataclass(frozen=True)
class Claim:
    """A ratio or a limit that was promised, and what was measured."""

    text: str
    value: float
    bound: float
    at_least: bool

    @property
    def met(self) -> bool:
        """Whether the promise holds."""
        return self.value >= self.bound if self.at_least else self.value <= self.bound

    @property
    def target(self) -> str:
        """The promise in a few signs."""
        return f"{'>=' if self.at_least else '<='} {number(self.bound)}"


@dataclass
class Outcome:
    """Everything one benchmark found."""

    name: str
    title: str
    figures: list[Figure] = field(default_factory=list)
    claims: list[Claim] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)

    def add(self, subject: str, measure: str, values: Sequence[float]) -> None:
        """Record one measure of one subject, unless no round could take it."""
        if values:
            self.figures.append(Figure(subject, measure, list(values)))

    def find(self, subject: str, measure: str) -> Figure | None:
        """Return one recorded figure, or None if it was not measured."""
        wanted = (subject, measure)
        return next((f for f in self.figures if (f.subject, f.measure) == wanted), None)

    def claim(
        self, text: str, value: float, *, least: float | None = None, most: float = 0
    ) -> None:
        """Hold a value against its target: a lower bound if `least` is given, else an upper."""
        self.claims.append(Claim(text, value, most if least is None else least, least is not None))

    def subjects(self) -> list[str]:
        """Return the subjects in the order they were recorded."""
        return list(dict.fromkeys(figure.subject for figure in self.figures))

    def measures(self) -> list[str]:
        """Return the measures in the order they were recorded."""
        return list(dict.fromkeys(figure.measure for figure in self.figures))


def number(value: float) -> str:
    """Write a number with about three significant digits."""
    if abs(value) >= 100:
        return f"{value:,.0f}"
    return f"{value:.1f}" if abs(value) >= 10 else f"{value:.2f}"


def paired(above: Sequence[float], below: Sequence[float]) -> list[float]:
    """Divide round by round, so that a slow moment of the machine touches both sides."""
    return [a / b for a, b in zip(above, below, strict=True)]


def rows(outcome: Outcome) -> list[list[str]]:
    """Return the figures as a table: a header row, then a row for each subject."""
    lines = [["", *outcome.measures()]]
    for subject in outcome.subjects():
        found = [outcome.find(subject, measure) for measure in outcome.measures()]
        lines.append([subject, *("" if figure is None else str(figure) for figure in found)])
    return lines


def claim_rows(outcome: Outcome) -> list[list[str]]:
    """Return the claims as a table: a header row, then a row for each."""
    lines = [["claim", "measured", "target", ""]]
    for claim in outcome.claims:
        verdict = "met" if claim.met else "MISSED"
        lines.append([claim.text, number(claim.value), claim.target, verdict])
    return lines


def show(outcome: Outcome, console: Console) -> None:
    """Print the tables and notes of one benchmark."""
    console.print(f"\n[bold]{outcome.title}[/bold]")
    for lines in (rows(outcome), claim_rows(outcome)):
        table = Table()
        for place, heading in enumerate(lines[0]):
            table.add_column(heading, justify="right" if place else "left")
        for line in lines[1:]:
            table.add_row(*line)
        if len(lines) > 1:
            console.print(table)
    for note in outcome.notes:
        console.print(f"  {note}", highlight=False, markup=False)


def machine() -> dict[str, object]:
    """Return what one must know of the machine to read the figures."""
    cpu = re.search(r"model name\s*:\s*(.+)", Path("/proc/cpuinfo").read_text())
    versions = {}
    for library in LIBRARIES.split():
        try:
            versions[library] = importlib.metadata.version(library)
        except importlib.metadata.PackageNotFoundError:
            continue
    if node := shutil.which("node"):
        versions["node"] = subprocess.check_output([node, "--version"], text=True).strip()
    return {
        "cpu": cpu[1] if cpu else platform.processor(),
        "cores": os.cpu_count(),
        "kernel": platform.release().partition("-")[0],
        "python": platform.python_version(),
        "versions": versions,
    }


def markdown(outcome: Outcome, pace: Pace, date: str) -> str:
    """Return one benchmark as a page."""
    parts = [f"# {outcome.title}", ""]
    where = machine()
    parts += [f"{date}, {pace.rounds} rounds of {pace.seconds:g} s, interleaved; median (range)."]
    parts += [f"{where['cores']} cores of {where['cpu']}, Python {where['python']}.", ""]
    for lines in (rows(outcome), claim_rows(outcome)):
        if len(lines) > 1:
            parts += [f"| {' | '.join(lines[0])} |", f"|{' --- |' * len(lines[0])}"]
            parts += [*(f"| {' | '.join(line)} |" for line in lines[1:]), ""]
    parts += [*(f"- {note}" for note in outcome.notes), ""]
    return "\n".join(parts).rstrip() + "\n"


def write(outcome: Outcome, pace: Pace) -> Path:
    """Write the JSON and the page of one benchmark; return the path without its ending."""
    date = time.strftime("%Y-%m-%d")
    stem = RESULTS / f"{date}-{outcome.name}"
    RESULTS.mkdir(exist_ok=True)
    claims = [{**asdict(c), "target": c.target, "met": c.met} for c in outcome.claims]
    whole = {"date": date, "pace": asdict(pace), "machine": machine(), **asdict(outcome)}
    whole["claims"] = claims
    stem.with_suffix(".json").write_text(json.dumps(whole, indent=1) + "\n")
    stem.with_suffix(".md").write_text(markdown(outcome, pace, date))
    return stem
