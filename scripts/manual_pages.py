"""The pages of the manual that are made from the source."""

from __future__ import annotations

import dataclasses
import inspect
import logging
import re
from collections.abc import Iterator
from importlib import import_module
from pathlib import Path
from typing import Any, get_args, get_origin

import click
from manual_words import FIXES, TITLES

from watchword import errors, events
from watchword.settings import PREFIX, Settings, seconds

SOURCE = Path(__file__).resolve().parent.parent / "src" / "watchword"
NOTE = "<!-- Made by scripts/manual.py from {source}; change it there. -->\n"


# --- settings ---


def settings_page() -> str:
    """Every option with its variable, default, values and reason."""
    lines = [
        NOTE.format(source="settings/"),
        "# Settings\n",
        "A setting has one name in three places: the keyword of `Auth(...)`, the variable",
        f"`{PREFIX}<NAME>`, and the key in `watchword.toml`. The first of these that is given",
        "counts: keyword, variable, the file that `WATCHWORD_<NAME>_FILE` names, `.env`,",
        "`watchword.toml`, default. A name that does not exist stops the start and is told the",
        "nearest one that does. Times are written `30s`, `10m`, `12h`, `90d`; lists are words",
        "with spaces or commas between; limits are `burst + rate`, as in `5 + 1/min`, or `off`.",
    ]
    group = None
    for name, field in Settings.model_fields.items():
        extra = field.json_schema_extra
        found = extra.get("group") if isinstance(extra, dict) else None
        if found != group:
            group = found
            lines += [f"\n## {str(group).capitalize()}\n", "| Name | Variable | Default | Values |"]
            lines[-1] += " Why |"
            lines.append("| --- | --- | --- | --- | --- |")
        cells = (
            f"`{name}`",
            f"`{PREFIX}{name.upper()}`",
            _default(field),
            _values(field),
            str(field.description),
        )
        lines.append("| " + " | ".join(cell.replace("|", "\\|") for cell in cells) + " |")
    return "\n".join(lines) + "\n"


def _is_duration(field: Any) -> bool:
    return any(getattr(found, "func", None) is seconds for found in field.metadata)


def _default(field: Any) -> str:
    value = field.default
    if value is None or value in ("", ()):
        return "none"
    if isinstance(value, bool):
        return "`true`" if value else "`false`"
    if _is_duration(field):
        units = (("d", 86_400), ("h", 3600), ("m", 60))
        unit, size = next((u for u in units if value and value % u[1] == 0), ("s", 1))
        return f"`{value / size:g}{unit}`"
    return f"`{value}`"


def _values(field: Any) -> str:
    bounds = [
        f"{sign} {getattr(found, name):,.10g}"
        for found in field.metadata
        for name, sign in (("ge", "at least"), ("gt", "more than"), ("le", "at most"))
        if getattr(found, name, None) is not None
    ]
    kind = "a time" if _is_duration(field) else _kind(field.annotation)
    if _is_duration(field) and bounds:
        bounds[-1] += " s"
    return ", ".join([kind, *bounds])


def _kind(annotation: Any) -> str:
    if get_args(annotation) and all(isinstance(a, str) for a in get_args(annotation)):
        return " | ".join(f"`{a}`" for a in get_args(annotation))
    inner = [a for a in get_args(annotation) if a is not type(None)]
    names = {bool: "`true` | `false`", int: "a number", str: "text"}
    if get_origin(annotation) is tuple:
        return "words"
    return names.get(inner[0] if inner else annotation, "text")


# --- errors and events ---


def wire_errors() -> list[type[errors.OAuthError]]:
    """Every error with a number, in the order of the numbers."""
    found = [
        member
        for member in vars(errors).values()
        if inspect.isclass(member) and issubclass(member, errors.OAuthError)
    ]
    return sorted(found, key=lambda error: error.number)


def errors_page() -> str:
    """Every error's number, code, status, cause and cure."""
    lines = [
        NOTE.format(source="errors.py"),
        "# Errors\n",
        "A protocol endpoint answers the members its RFC defines: `error` and",
        "`error_description`. A guarded route answers FastAPI's `detail` as well, the number as",
        "`code`, and in development a `hint`. The numbers do not change.\n",
        "| Number | `error` | Status |",
        "| --- | --- | --- |",
    ]
    for error in wire_errors():
        anchor = error.number.lower()
        code = f"`{error.code}`" if error.code else "none"
        lines.append(f"| [{error.number}](#{anchor}) | {code} | {error.status} |")
    for error in wire_errors():
        cause = " ".join((inspect.getdoc(error) or "").split("\nArgs:")[0].split())
        lines += [f"\n## {error.number}\n"]
        lines += [f"`{error.code or 'no error code'}`, status {error.status}. {cause}\n"]
        lines += [f"**What to do.** {FIXES[error.__name__]}"]
    lines += [
        "\n## When it does not start\n",
        "`ConfigError` is raised while settings are read, routes are declared, or the server",
        "starts. Its text has three parts: what cannot be, why not, and how to fix it.",
    ]
    return "\n".join(lines) + "\n"


def happenings() -> list[type[events.Event]]:
    """Every kind of event, in the order of the file."""
    return [
        member
        for member in vars(events).values()
        if inspect.isclass(member) and issubclass(member, events.Event)
        if member is not events.Event
    ]


def events_page() -> str:
    """Every event's kind, level, fields and meaning."""
    lines = [
        NOTE.format(source="events.py"),
        "# Events\n",
        "What happened, told after it is true. Each is a line of the logger `watchword.events`",
        '(the fields travel as `extra`), and a value for functions under `@auth.after("<kind>")`.',
        "None carries a secret, a password or a token; every one has `at`, Unix seconds, and an",
        "`id` of its own.\n",
        "| Kind | Level | Fields | Meaning |",
        "| --- | --- | --- | --- |",
    ]
    for event in happenings():
        fields = (f.name for f in dataclasses.fields(event) if f.name not in ("at", "id"))
        names = ", ".join(f"`{name}`" for name in fields)
        level = logging.getLevelName(event.level)
        meaning = " ".join((inspect.getdoc(event) or "").split())
        lines.append(f"| `{event.kind}` | {level} | {names} | {meaning} |")
    return "\n".join(lines) + "\n"


# --- the command line ---


def cli_page() -> str:
    """Every command's help."""
    lines = [
        NOTE.format(source="cli/"),
        "# Command line\n",
        "A command reads the settings that a server in its directory reads: variables, `.env`,",
        "`watchword.toml`. What an app says in keywords of `Auth(...)` is known to the app alone:",
        'name it with `--app main:app`, or once for all commands with `app = "main:app"` in',
        "`watchword.toml`, and they obey its keywords, use its database, and know its users.\n",
    ]
    main = _command()
    if main is None:
        return "\n".join([*lines, "There is none in this version.\n"])
    for path, command in _commands(main, "watchword"):
        context = click.Context(command, info_name=path, terminal_width=80, max_content_width=80)
        if path != "watchword":
            lines.append(f"\n## {path}\n")
        lines += ["```text", command.get_help(context).rstrip(), "```"]
    return "\n".join(lines) + "\n"


def _command() -> click.Command | None:
    module = import_module("watchword.cli")
    found = [getattr(module, name, None) for name in ("main", "cli", "app", "watchword")]
    return next((command for command in found if isinstance(command, click.Command)), None)


def _commands(command: click.Command, path: str) -> Iterator[tuple[str, click.Command]]:
    yield path, command
    if isinstance(command, click.Group):
        context = click.Context(command)
        for name in command.list_commands(context):
            below = command.get_command(context, name)
            if below is not None and not below.hidden:
                yield from _commands(below, f"{path} {name}")


# --- standards ---

_CITED = re.compile(
    r"RFC (\d{4})(?:'s)?(?: sections? (\d+(?:\.\d+)*)|,? section (\d+(?:\.\d+)*)| (\d+(?:\.\d+)+))?"
)


def citations() -> dict[str, dict[str, set[str]]]:
    """RFC -> section -> the files whose lines obey it."""
    found: dict[str, dict[str, set[str]]] = {}
    for path in sorted(SOURCE.rglob("*.py")):
        text = re.sub(r"\s+(?:#:? )?", " ", path.read_text(encoding="utf-8"))
        for rfc, *sections in _CITED.findall(text):
            section = next((s for s in sections if s), "")
            name = path.relative_to(SOURCE).as_posix()
            found.setdefault(rfc, {}).setdefault(section, set()).add(name)
    return found


def standards_page() -> str:
    """Which sections of which RFC the code obeys, and where."""
    lines = [
        NOTE.format(source="the citations in src/"),
        "# Standards\n",
        "The code cites the section of a standard at the line that obeys it. This is the list",
        "of those citations; what is not in it is not claimed. File names are below",
        "`src/watchword/`.",
    ]
    for rfc, sections in sorted(citations().items()):
        title = TITLES.get(rfc)
        lines += [f"\n## RFC {rfc}{f': {title}' if title else ''}\n"]
        lines += ["| Section | Files |", "| --- | --- |"]
        for section in sorted(sections, key=lambda s: [int(n) for n in s.split(".") if n]):
            files = ", ".join(f"`{name}`" for name in sorted(sections[section]))
            lines.append(f"| {section or 'as a whole'} | {files} |")
    return "\n".join(lines) + "\n"
