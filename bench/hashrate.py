"""The bare Argon2id rate: the ceiling that no login can pass."""

import argparse
import time
from concurrent.futures import ThreadPoolExecutor

from bench.peers.common import PASSWORD, hasher


def hashes_until(deadline: float) -> int:
    """Verify one password over and over until `deadline` and return how often."""
    argon2 = hasher()
    known, count = argon2.hash(PASSWORD), 0
    while time.perf_counter() < deadline:
        argon2.verify(known, PASSWORD)
        count += 1
    return count


def main() -> None:
    """Print verified hashes per second over some threads."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--seconds", type=float, default=3.0)
    chosen = parser.parse_args()
    begin = time.perf_counter()
    with ThreadPoolExecutor(chosen.threads) as pool:
        counts = pool.map(hashes_until, [begin + chosen.seconds] * chosen.threads)
    print(sum(counts) / (time.perf_counter() - begin))


if __name__ == "__main__":
    main()
