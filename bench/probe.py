"""An open-loop prober: requests leave by the clock, whether or not the last one came back.

A closed loop would send less while the server is stuck and so leave the bad
moments out of its own percentiles. Here each latency counts from the moment the
request was due, and a request that never came back counts as long as it waited.
"""

import argparse
import asyncio
import gc
import json
import math
import os
import urllib.parse
from dataclasses import dataclass, field

Connection = tuple[asyncio.StreamReader, asyncio.StreamWriter]
EARLY = 0.0015  # seconds: the selector sleeps in whole milliseconds, so the last of them is spun
PATIENCE = 5.0  # seconds to wait for stragglers


@dataclass
class Prober:
    """Sends one GET at a fixed rate over as many connections as it takes."""

    host: str
    port: int
    request: bytes
    idle: list[Connection] = field(default_factory=list)
    latencies: list[float] = field(default_factory=list)
    failed: int = 0

    async def fetch(self) -> None:
        """Send the request once and read the whole answer."""
        opened = self.idle.pop() if self.idle else None
        reader, writer = opened or await asyncio.open_connection(self.host, self.port)
        writer.write(self.request)
        head = (await reader.readuntil(b"\r\n\r\n")).lower()
        await reader.readexactly(int(head.partition(b"content-length:")[2].split(b"\r\n")[0]))
        if not head.startswith(b"http/1.1 2"):
            raise ConnectionError(head.split(b"\r\n")[0].decode())
        self.idle.append((reader, writer))

    async def probe(self, due: float) -> None:
        """Record one latency in seconds, or one failure."""
        loop = asyncio.get_running_loop()
        try:
            await self.fetch()
        except (OSError, asyncio.IncompleteReadError):
            self.failed += 1
        except asyncio.CancelledError:
            self.failed += 1
        self.latencies.append(loop.time() - due)

    async def run(self, rate: float, seconds: float) -> None:
        """Send at `rate` per second for `seconds`, then wait for what is still out."""
        loop = asyncio.get_running_loop()
        begin = loop.time() + 0.05
        out = set()
        for number in range(math.ceil(rate * seconds)):
            due = begin + number / rate
            await asyncio.sleep(max(0.0, due - loop.time() - EARLY))
            while loop.time() < due:
                await asyncio.sleep(0)
            out.add(asyncio.create_task(self.probe(due)))
        _, stuck = await asyncio.wait(out, timeout=PATIENCE)
        for task in stuck:
            task.cancel()
        await asyncio.gather(*stuck)


def percentile(ordered: list[float], share: float) -> float:
    """Return the smallest value that at least `share` of the values do not exceed."""
    return ordered[max(0, math.ceil(share * len(ordered)) - 1)]


def main() -> None:
    """Probe one URL, with the bearer token in BENCH_TOKEN, and print the latencies as JSON."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("url")
    parser.add_argument("--rate", type=float, default=150.0)
    parser.add_argument("--seconds", type=float, default=5.0)
    chosen = parser.parse_args()
    at = urllib.parse.urlsplit(chosen.url)
    token = os.environ.get("BENCH_TOKEN", "")
    lines = [f"GET {at.path} HTTP/1.1", f"Host: {at.netloc}", f"Authorization: Bearer {token}"]
    prober = Prober(at.hostname or "", at.port or 80, "\r\n".join([*lines, "", ""]).encode())
    gc.disable()
    asyncio.run(prober.run(chosen.rate, chosen.seconds))
    ordered = sorted(1000 * latency for latency in prober.latencies)
    shares = {"p50": 0.5, "p99": 0.99, "max": 1.0}
    figures = {name: percentile(ordered, share) for name, share in shares.items()}
    print(json.dumps({"sent": len(ordered), "failed": prober.failed, **figures}))


if __name__ == "__main__":
    main()
