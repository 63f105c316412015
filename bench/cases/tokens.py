"""What a token costs: refresh rotations and client credentials, in server CPU and per second."""

from collections import defaultdict
from urllib.parse import urlencode

from bench.harness import Load, abba, ask, start_wrk
from bench.report import Outcome, Pace
from bench.subjects import NODE_OIDC, WATCHWORD, Running, all_running

CHAINS = 8
CREDENTIALS, ROTATIONS = "client credentials", "refresh rotations"
FORM = {"grant_type": "client_credentials", "scope": "me"}


def mint(one: Running, seconds: float) -> Load:
    """Ask for client-credential tokens with a Basic header over and over."""
    env = {"BENCH_BODY": urlencode(FORM)}
    headers = one.basic()
    storm = start_wrk(one.server, "/token", seconds, headers=headers, script="post.lua", env=env)
    return storm.wait().clean()


def rotate(one: Running, seconds: float) -> Load:
    """Follow eight chains of refresh tokens, each link spent once."""
    env = {"BENCH_REFRESH_TOKENS": " ".join(one.login()["refresh_token"] for _ in range(CHAINS))}
    storm = start_wrk(
        one.server,
        "/token",
        seconds,
        connections=CHAINS,
        threads=CHAINS,
        script="refresh.lua",
        env=env,
    )
    return storm.wait().clean()


def must_rotate(one: Running) -> None:
    """Refuse to measure a server that hands the same refresh token back."""
    first = one.login()["refresh_token"]
    form = {"grant_type": "refresh_token", "refresh_token": first}
    reply = ask(one.server.url("/token"), form)
    if reply.status != 200 or first.encode() in reply.body:
        raise RuntimeError(f"no rotation: {reply.status} {reply.body!r}")


def measure(pace: Pace) -> Outcome:
    """Mint and rotate in turn."""
    outcome = Outcome("tokens", "Tokens, one core")
    loads = defaultdict(list)
    with all_running([WATCHWORD, NODE_OIDC], outcome.notes) as servers:
        turns = [(one, CREDENTIALS, mint) for one in servers]
        turns += [(one, ROTATIONS, rotate) for one in servers if one.subject is WATCHWORD]
        for one, kind, load in turns:
            if kind == ROTATIONS:
                must_rotate(one)
            load(one, pace.seconds)  # a warm-up
        for one, kind, load in abba(turns, pace.rounds):
            loads[f"{one.subject.name}, {kind}"].append(load(one, pace.seconds))
    for name, rounds in loads.items():
        outcome.add(name, "tokens/s", [load.rate for load in rounds])
        outcome.add(name, "server CPU us", [load.cpu_us_each for load in rounds])
    ours, theirs = (
        outcome.find(f"{name}, {CREDENTIALS}", "server CPU us")
        for name in ("watchword", NODE_OIDC.name)
    )
    if ours and theirs:
        outcome.claim("client credentials, CPU / node's CPU", ours.median / theirs.median, most=1)
    outcome.notes.append(
        "ES256 JWTs of 10 minutes, client_secret_basic. Node keeps its state in memory; "
        "watchword's rotations are committed to SQLite."
    )
    return outcome
