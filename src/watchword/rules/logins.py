"""What people type as their login, and when two spellings mean one person."""

from __future__ import annotations

import unicodedata


def folded(login: str) -> str:
    """The form in which logins are stored, compared and counted: NFKC, case folded, trimmed."""
    return unicodedata.normalize("NFKC", unicodedata.normalize("NFKC", login).casefold()).strip()
