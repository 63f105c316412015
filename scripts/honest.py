"""What no file of the project may hold: addresses of package indexes, paths of a machine."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

FORBIDDEN = re.compile(
    r"https?://[^\s\"']*(?:pypi\.org/simple|pythonhosted\.org|registry\.npmjs|proxy\.golang)"
    r"|/(?:root|work|home)/[a-z][\w.-]*/"
    r"|--(?:extra-)?index-url"
)
HERE = Path(__file__).name


def main() -> int:
    """Print every offence; 1 when there is one."""
    listed = subprocess.run(
        ["git", "ls-files", "-co", "--exclude-standard"],  # noqa: S607 - git of the PATH
        capture_output=True,
        text=True,
        check=True,
    )
    found = 0
    for name in listed.stdout.splitlines():
        path = Path(name)
        if path.name in (HERE, "Makefile") or not path.is_file():
            continue
        try:
            text = path.read_text(encoding="utf-8")
        except UnicodeDecodeError:
            continue
        for number, line in enumerate(text.splitlines(), 1):
            if FORBIDDEN.search(line):
                found += 1
                sys.stdout.write(f"{name}:{number}: {line.strip()[:120]}\n")
    return 1 if found else 0


if __name__ == "__main__":
    sys.exit(main())
