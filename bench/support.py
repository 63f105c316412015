"""The real servers that the tests start too."""

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent / "tests" / "support"))

from cable import Cable
from node import DEFAULTS, Node
from pg import PostgresServer
from vk import Valkey

__all__ = ["DEFAULTS", "Cable", "Node", "PostgresServer", "Valkey"]
