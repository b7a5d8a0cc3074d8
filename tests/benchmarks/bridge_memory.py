"""How much memory the bridges take: by how much the peak of a process grows while it carries one large body.

Each figure comes from a process of its own, so that no peak hides the next one.  It serves a small request of the same
kind first, and is asked for the peak of what it holds in memory before the large one and after.  What is held
elsewhere, such as in a temporary file, does not show.
"""

from __future__ import annotations

import gc
import json
import resource
import subprocess
import sys
from collections.abc import Iterable
from contextlib import ExitStack, suppress
from dataclasses import dataclass
from pathlib import Path
from statistics import median

from tests.benchmarks import bridge_apps
from tests.benchmarks.bridge_apps import CHUNK
from tests.benchmarks.bridge_peers import MAKERS, Unable
from tests.benchmarks.bridge_servers import Traffic, server
from tests.benchmarks.bridges import DIRECTIONS, KNOWN, MIB
from tests.benchmarks.harness import aligned

__all__ = ["KINDS", "MemoryResult", "memory", "memory_table"]

SIZE = 256 * MIB
"""How many bytes are carried up or down."""

PAUSE = 0.005

KINDS = ("down", "down, slow", "up, chunked", "up, length")
"""What is carried: down to a client that reads as fast as it can, or pauses for 5 ms at each MiB, and up."""

NOTES = {("asgi", "asgiref"): "uploads go to a temporary file"}


@dataclass(frozen=True)
class MemoryResult:
    """By candidate and kind, how many bytes the peak grew by; None for what a candidate is known not to do."""

    protocol: str
    size: int
    growths: dict[str, dict[str, float | None]]


def memory(
    protocol: str,
    *,
    size: int = SIZE,
    rounds: int = 3,
    names: Iterable[str] | None = None,
    kinds: Iterable[str] = KINDS,
) -> MemoryResult:
    """Measure the bridges under a server of a protocol.

    Args:
        protocol: the server's, "asgi" or "wsgi".
        size: how many bytes are carried, a multiple of CHUNK.
        rounds: how many processes there are for each figure, which is their median.
        names: which candidates; all by default.
        kinds: which of KINDS.

    Raises AssertionError where a body arrives short and that is not known of the candidate.
    """
    growths: dict[str, dict[str, float | None]] = {}
    for name in MAKERS[protocol] if names is None else names:
        growths[name] = {}
        for kind in kinds:
            if kind == "up, chunked" and name in KNOWN[protocol]:
                growths[name][kind] = None
            else:
                growths[name][kind] = median(_in_a_process(protocol, name, kind, size) for _ in range(rounds))
    return MemoryResult(protocol, size, growths)


def memory_table(result: MemoryResult) -> str:
    """Return the table of one direction, in MiB."""
    kinds = list(next(iter(result.growths.values())))
    rows = [[f"{DIRECTIONS[result.protocol]}: peak, MiB of {result.size // MIB}", *kinds]]
    notes = [""]
    for name, growths in result.growths.items():
        rows.append([f"  {name}", *("-" if growth is None else f"{growth / MIB:.1f}" for growth in growths.values())])
        remarks = [KNOWN[result.protocol].get(name) if None in growths.values() else None]
        remarks.append(NOTES.get((result.protocol, name)))
        notes.append("".join(f"  {remark}" for remark in remarks if remark))
    return "\n".join(row + note for row, note in zip(aligned(rows).splitlines(), notes, strict=True))


def _in_a_process(protocol: str, name: str, kind: str, size: int) -> int:
    # The path that this process has, so that the other one measures the same dualroute, installed or not.
    path = [*sys.path, str(Path(__file__).parents[2])]
    script = (
        "import json, sys; sys.path[:] = json.loads(sys.argv[1]);"
        " from tests.benchmarks.bridge_memory import main; main(*sys.argv[2:])"
    )
    ran = subprocess.run(
        [sys.executable, "-c", script, json.dumps(path), protocol, name, kind, str(size)],
        capture_output=True,
        text=True,
        check=False,
    )
    assert ran.returncode == 0, f"{DIRECTIONS[protocol]}: {name}, {kind}: {ran.stderr}"
    return int(ran.stdout)


def main(protocol: str, name: str, kind: str, size: str) -> None:
    """Carry a body and print by how many bytes the peak of this process grew."""
    _carry(protocol, name, kind, CHUNK)
    gc.collect()
    with suppress(OSError):
        # Linux: start the peak anew (proc_pid_clear_refs(5)), or what the imports took for a while would count.
        Path("/proc/self/clear_refs").write_text("5")
    before = _peak()
    _carry(protocol, name, kind, int(size))
    print(_peak() - before)


def _carry(protocol: str, name: str, kind: str, size: int) -> None:
    mounted = bridge_apps.WSGI if protocol == "asgi" else bridge_apps.ASGI
    if kind.startswith("down"):
        app = mounted.download(size)
        traffic = Traffic(size, pause=PAUSE if kind == "down, slow" else 0)
    else:
        app = mounted.upload
        receipt = bridge_apps.told(size, digest=False)
        traffic = Traffic(len(receipt), up=size, announced=kind == "up, length")
    with ExitStack() as stack:
        bridge = MAKERS[protocol][name](app, None, stack)
        assert not isinstance(bridge, Unable), "every bridge has a number of threads of its own"
        driver = server(protocol, traffic)
        stack.callback(driver.close)
        driver.time(bridge, 1)


def _peak() -> int:
    """Return how many bytes this process has had in memory at most."""
    with suppress(OSError):
        # Linux: getrusage would show the peak of the process that started this one, where that was higher.
        for row in Path("/proc/self/status").read_text().splitlines():
            if row.startswith("VmHWM:"):
                return int(row.split()[1]) * 1024
    used = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return used if sys.platform == "darwin" else used * 1024
