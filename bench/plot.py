"""Draws a benchmark: one panel a measure, one bar a subject, a whisker from worst to best round."""

import math
from pathlib import Path

import matplotlib as mpl

mpl.use("agg")

import matplotlib.pyplot as plt
from matplotlib.axes import Axes

from bench.report import Outcome, number

ACROSS = 4  # panels side by side
OURS, THEIRS = "#1f6f5c", "#b8b2a7"


def draw(outcome: Outcome, stem: Path) -> Path:
    """Draw one benchmark beside its JSON and return the path of the picture."""
    measures, subjects = outcome.measures(), outcome.subjects()
    across = min(ACROSS, len(measures))
    down = math.ceil(len(measures) / across)
    size = (3.4 * across + 1.2, (0.42 * len(subjects) + 1.0) * down + 0.7)
    figure, axes = plt.subplots(
        down, across, figsize=size, sharey=True, squeeze=False, layout="constrained"
    )
    panels = list(axes.flat)
    for panel, measure in zip(panels, measures, strict=False):
        bars(panel, outcome, measure)
    for panel in panels[len(measures) :]:
        panel.set_axis_off()
    panels[0].set_yticks(range(len(subjects)), subjects)
    panels[0].invert_yaxis()
    figure.suptitle(outcome.title, x=0.01, ha="left", fontsize=11, fontweight="bold")
    picture = stem.with_suffix(".png")
    figure.savefig(picture, dpi=130)
    plt.close(figure)
    return picture


def bars(panel: Axes, outcome: Outcome, measure: str) -> None:
    """Draw one measure of every subject that has it."""
    longest = 0.0
    for place, subject in enumerate(outcome.subjects()):
        found = outcome.find(subject, measure)
        if found is None:
            continue
        low, high, middle = min(found.values), max(found.values), found.median
        colour = OURS if subject.startswith("watchword") else THEIRS
        panel.barh(place, middle, color=colour, height=0.62)
        panel.plot([low, high], [place, place], color="#333333", linewidth=1)
        panel.annotate(
            number(middle), (high, place), (4, 0), textcoords="offset points", va="center", size=8
        )
        longest = max(longest, high)
    panel.set_xlim(0, (longest or 1.0) * 1.22)
    panel.set_title(measure, fontsize=9)
    panel.tick_params(labelsize=8)
    panel.spines[["top", "right"]].set_visible(False)
