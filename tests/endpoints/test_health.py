"""Health as balancers and orchestrators ask for it."""

from __future__ import annotations

import pytest

from watchword.seams import Unavailable


async def test_alive_and_ready(server):
    live = await server.get("/auth/health/live")
    assert (live.status_code, live.json()) == (200, {"status": "live"})
    ready = await server.get("/auth/health/ready")
    assert ready.status_code == 200
    assert ready.json()["status"] == "ready"
    assert set(ready.json()["checks"].values()) == {True}
    for answer in (live, ready):
        assert answer.headers["cache-control"] == "no-store"
    assert (await server.http.head("/auth/health/live")).status_code == 200
    assert (await server.post("/auth/health/ready")).status_code == 405


@pytest.mark.attack("Z-08")
async def test_a_database_that_is_away_is_not_ready_and_still_alive(server, monkeypatch):
    async def away() -> None:
        raise Unavailable("a password might be in here: hunter2")

    monkeypatch.setattr(server.auth.store, "position", away)
    ready = await server.get("/auth/health/ready")
    assert ready.status_code == 503
    assert ready.headers["retry-after"] == "1"
    assert ready.json()["checks"] == {"serving": True, "database": False, "revocations": False}
    assert "hunter2" not in ready.text
    assert (await server.get("/auth/health/live")).status_code == 200


async def test_many_questions_are_one_to_the_database(server, monkeypatch):
    asked = []
    real = server.auth.store.position

    async def counted() -> tuple[int, int]:
        asked.append(1)
        return await real()

    monkeypatch.setattr(server.auth.store, "position", counted)
    for _ in range(20):
        assert (await server.get("/auth/health/ready")).status_code == 200
    assert len(asked) <= 2


async def test_a_draining_server_is_not_ready_and_serves_on(server):
    server.auth.readiness.draining = True
    assert (await server.get("/auth/health/ready")).json()["checks"]["serving"] is False
    assert (await server.get("/open")).status_code == 200
    assert (await server.login())["access_token"]
