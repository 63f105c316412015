"""What every peer shares, so that only the guard differs: one user, one hash cost, two routes."""

import os

from argon2 import PasswordHasher

USERNAME = os.environ.get("BENCH_USERNAME", "bench")
PASSWORD = os.environ.get("BENCH_PASSWORD", "a-long-benchmark-password")
SECRET = os.environ.get("BENCH_SECRET", "0123456789abcdef0123456789abcdef")
ACCESS_TTL = 600  # seconds
MEMORY_KIB, PASSES, LANES = 19456, 2, 1  # the OWASP floor, the same for everyone


def hasher() -> PasswordHasher:
    """Return an Argon2id hasher at the cost that every server in the benchmark pays."""
    return PasswordHasher(time_cost=PASSES, memory_cost=MEMORY_KIB, parallelism=LANES)
