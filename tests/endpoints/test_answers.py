"""Errors and tokens as responses: every class of error, one form."""

import json
import logging

import pytest

from watchword import errors
from watchword.endpoints import answers
from watchword.errors import (
    BadCredentials,
    Busy,
    InvalidClient,
    InvalidToken,
    NoToken,
    OAuthError,
    TooManyRequests,
)

CLASSES = [
    found
    for found in vars(errors).values()
    if isinstance(found, type) and issubclass(found, OAuthError) and found is not TooManyRequests
]


@pytest.mark.attack("T-34")
@pytest.mark.parametrize("kind", CLASSES)
def test_every_refusal_has_the_form_of_rfc_6749(kind, caplog):
    caplog.set_level(logging.DEBUG)
    answer = answers.refusal(
        kind("Why.", **({} if kind.__name__ == "StaleLogin" else {"detail": "INNER"}))
    )
    assert answer.status_code == kind.status
    assert json.loads(answer.body)["error"] == (kind.code or "invalid_token")
    assert json.loads(answer.body)["error_description"] == "Why."
    assert b"INNER" not in answer.body
    assert "INNER" not in repr(answer.headers)
    assert answer.headers["cache-control"] == "no-store"
    assert answer.headers["content-type"] == "application/json"


def test_challenges():
    def challenge(error):
        return answers.refusal(error).headers.get("www-authenticate")

    assert challenge(BadCredentials("x")) == "Bearer"
    assert challenge(NoToken("x")) == "Bearer"
    assert challenge(InvalidToken("x")) == 'Bearer error="invalid_token"'
    assert challenge(InvalidClient("x")) is None
    assert challenge(InvalidClient("x", challenge=True)) == 'Basic realm="watchword"'


@pytest.mark.parametrize(
    ("seconds", "told"), [(0.0, "1"), (0.2, "1"), (1.0, "1"), (1.1, "2"), (60, "60")]
)
def test_waiting_is_told_in_whole_seconds_and_never_none(seconds, told):
    limited = answers.refusal(TooManyRequests("x", retry_after=seconds, limit=5, reset=seconds))
    assert limited.headers["retry-after"] == limited.headers["ratelimit-reset"] == told
    assert limited.headers["ratelimit-limit"] == "5"
    assert limited.headers["ratelimit-remaining"] == "0"
    assert answers.refusal(Busy("x", retry_after=seconds)).headers["retry-after"] == told


def test_the_tutorials_clients_read_detail():
    assert json.loads(answers.refusal(BadCredentials("Wrong.")).body)["detail"] == "Wrong."


def test_a_document_may_be_kept_and_read_by_any_page():
    answer = answers.document({"a": 1}, 60)
    assert answer.headers["cache-control"] == "public, max-age=60"
    assert answer.headers["access-control-allow-origin"] == "*"
    assert answer.headers["x-content-type-options"] == "nosniff"
