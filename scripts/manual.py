"""Writes the pages of the manual that are made from the source, and checks that they are.

python scripts/manual.py            write them
python scripts/manual.py --check    print what is out of date; 1 when something is
"""

from __future__ import annotations

import ast
import difflib
import inspect
import re
import sys
from pathlib import Path
from typing import Any

import manual_pages as pages

import watchword

ROOT = Path(__file__).resolve().parent.parent

# --- the public doors ---


def doors() -> str:
    """The public names and the signatures of what people call on them."""
    lines = ["# Made by scripts/manual.py. A change here is a change for everybody's code."]
    for name in sorted(watchword.__all__):
        door = getattr(watchword, name)
        lines.append(f"\n{name}{_signature(door)}")
        for member, value in sorted(inspect.getmembers(door)):
            if member.startswith("_") or hasattr(Exception, member):
                continue
            if inspect.isroutine(value):
                lines.append(f"    {member}{_signature(value)}")
            elif isinstance(value, property):
                lines.append(f"    {member}: property")
    return "\n".join(lines) + "\n"


def _signature(of: Any) -> str:
    text = str(inspect.signature(of))
    return re.sub(r" at 0x[0-9a-f]+|<built-in function (\w+)>|<function (\w+)>", r"\1\2", text)


# --- differences shown in pages ---

_SHOWN = re.compile(r"(<!-- diff: (\S+) (\S+) -->\n```diff\n).*?(```\n)", re.DOTALL)


def with_differences(page: str) -> str:
    """A page whose marked blocks show the difference of two files as they are now."""

    def shown(found: re.Match[str]) -> str:
        old, new = (
            (ROOT / name).read_text(encoding="utf-8").splitlines(keepends=True)
            for name in found.group(2, 3)
        )
        before, after = (Path(name).name for name in found.group(2, 3))
        return found[1] + "".join(difflib.unified_diff(old, new, before, after)) + found[4]

    return _SHOWN.sub(shown, page)


# --- the tree of the map ---

_TREE = re.compile(r"(<!-- tree -->\n```text\n).*?(```\n)", re.DOTALL)
_WIDE = 26


def tree() -> str:
    """Every module with the first line of its docstring, folders after files."""
    return "src/watchword/\n" + "".join(f"{line}\n" for line in _below(pages.SOURCE, "  "))


def _below(folder: Path, margin: str) -> list[str]:
    found = [path for path in folder.iterdir() if path.suffix == ".py"]
    folders = [path for path in folder.iterdir() if (path / "__init__.py").exists()]
    lines = [
        f"{margin + path.name:{_WIDE}}{_sentence(path)}"
        for path in sorted(found)
        if path.name != "__init__.py" or folder == pages.SOURCE
    ]
    for path in sorted(folders):
        said = _sentence(path / "__init__.py")
        lines += ["", f"{f'{margin}{path.name}/':{_WIDE}}{said}", *_below(path, margin + "  ")]
    return lines


def _sentence(path: Path) -> str:
    said = ast.get_docstring(ast.parse(path.read_text(encoding="utf-8"))) or ""
    return said.partition("\n")[0]


def with_tree(page: str) -> str:
    """The map, with the tree as it is now."""
    return _TREE.sub(lambda found: found[1] + tree() + found[2], page)


def made() -> dict[Path, str]:
    """Every file that is made, as it has to be now."""
    docs = ROOT / "docs"
    files = {
        docs / "settings.md": pages.settings_page(),
        docs / "errors.md": pages.errors_page(),
        docs / "events.md": pages.events_page(),
        docs / "cli.md": pages.cli_page(),
        docs / "standards.md": pages.standards_page(),
        ROOT / "tests" / "public_doors.txt": doors(),
    }
    for page in sorted(docs.rglob("*.md")):
        text = page.read_text(encoding="utf-8")
        if (filled := with_tree(with_differences(text))) != text:
            files[page] = filled
    return files


def main() -> int:
    """Write or check; 1 when something was out of date and only checked."""
    check = "--check" in sys.argv[1:]
    stale = 0
    for path, text in made().items():
        old = path.read_text(encoding="utf-8") if path.exists() else ""
        if old == text:
            continue
        stale += 1
        if check:
            lines = difflib.unified_diff(
                old.splitlines(), text.splitlines(), "as it is", "as it has to be", lineterm="", n=0
            )
            sys.stdout.write(f"{path.relative_to(ROOT)} is out of date:\n")
            sys.stdout.write("".join(f"  {line}\n" for line in list(lines)[:20]))
        else:
            path.write_text(text, encoding="utf-8")
            sys.stdout.write(f"wrote {path.relative_to(ROOT)}\n")
    if check and stale:
        sys.stdout.write("run: python scripts/manual.py\n")
    return 1 if check and stale else 0


if __name__ == "__main__":
    sys.exit(main())
