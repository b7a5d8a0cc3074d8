"""Run fuzz targets for as long as one likes: ``python -m tests.fuzz [TARGET …] [--seconds N]``.

Where atheris can be imported (``pip install atheris``), it looks for inputs that lead to code that no input has led to
before; elsewhere hypothesis makes as many as there is time for.  Each target has a process of its own.  An input that
fails is written to ``--kept``; move it to ``tests/fuzz/kept/`` once it is mended, where the test run tries it again.
"""

from __future__ import annotations

import argparse
import hashlib
import importlib
import importlib.util
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

LONGEST = 2048
"""How many bytes an input has at most."""

HERE = Path(__file__).parent


def main(arguments: list[str] | None = None) -> int:
    """Run the targets that are named, or all of them; the exit code is 1 where one failed."""
    options = _options(arguments)
    if options.alone:
        return _run_alone(options)
    names = options.targets or sorted(path.stem for path in (HERE / "words").glob("*.dict"))
    failed = []
    for name in names:
        began = time.monotonic()
        command = [sys.executable, "-m", "tests.fuzz", name, "--alone", "--seconds", str(options.seconds)]
        if options.engine:
            command += ["--engine", options.engine]
        command += ["--kept", str(options.kept)]
        with tempfile.TemporaryDirectory(prefix="fuzz-") as folder:  # an engine may end its process at any moment
            run = subprocess.run(
                command,
                env={**os.environ, "TMPDIR": folder},
                stdout=subprocess.PIPE,
                stderr=subprocess.STDOUT,
                check=False,
            )
        print(f"{name}: {'failed' if run.returncode else 'passed'} in {time.monotonic() - began:.0f} s", end="")
        print(f"; {_said(run.stdout.decode(errors='replace'))}", flush=True)
        if run.returncode:
            failed.append(name)
            print("\n".join(run.stdout.decode(errors="replace").splitlines()[-40:]), flush=True)
    return 1 if failed else 0


def _said(output: str) -> str:
    """Return the line in which an engine says how many inputs there were."""
    lines = [line for line in output.splitlines() if line.startswith(("Done ", "stat::number_of", "hypothesis: "))]
    return lines[-1] if lines else "no count"


def _options(arguments: list[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser("python -m tests.fuzz", description="Run fuzz targets.")
    parser.add_argument("targets", nargs="*", metavar="TARGET", help="one that tests/fuzz/words has a file of")
    parser.add_argument("--seconds", type=int, default=60, help="how long each target runs (60)")
    parser.add_argument("--engine", choices=("atheris", "hypothesis"), help="by default atheris where it is installed")
    parser.add_argument("--kept", type=Path, default=Path(), help="where inputs that fail are written (here)")
    parser.add_argument("--alone", action="store_true", help=argparse.SUPPRESS)
    return parser.parse_args(arguments)


def _run_alone(options: argparse.Namespace) -> int:
    (name,) = options.targets
    engine = options.engine or ("atheris" if importlib.util.find_spec("atheris") else "hypothesis")
    return (_run_atheris if engine == "atheris" else _run_hypothesis)(name, options.seconds, options.kept)


def _run_atheris(name: str, seconds: int, kept: Path) -> int:
    atheris: Any = importlib.import_module("atheris")  # which has no types, and not every Python
    with atheris.instrument_imports(include=["dualroute", "werkzeug.http", "werkzeug.sansio", "json", "urllib.parse"]):
        from tests.fuzz.targets import TARGETS
    from tests.fuzz.registry import seeds_of

    corpus = Path(tempfile.mkdtemp(prefix="fuzz-"))
    for number, seed in enumerate(seeds_of(name)):
        (corpus / f"seed{number}").write_bytes(seed)
    kept.mkdir(parents=True, exist_ok=True)
    flags = [
        f"-max_total_time={seconds}",
        f"-max_len={LONGEST}",
        "-timeout=20",
        f"-dict={HERE / 'words' / name}.dict",
        f"-artifact_prefix={kept}/{name}-",
    ]
    atheris.Setup([sys.argv[0], *flags, str(corpus)], TARGETS[name].check)
    atheris.Fuzz()  # which ends the process by itself, with a code that is not 0 where something failed
    return 0


def _run_hypothesis(name: str, seconds: int, kept: Path) -> int:
    from hypothesis import given, settings

    from tests.fuzz.feeding import TOLERATED, inputs
    from tests.fuzz.targets import TARGETS

    check, last, count = TARGETS[name].check, b"", 0

    @settings(max_examples=2000, deadline=None, database=None, suppress_health_check=TOLERATED)
    @given(inputs(name))
    def feed(data: bytes) -> None:
        nonlocal last, count
        last, count = data, count + 1
        check(data)

    end = time.monotonic() + seconds
    try:
        while time.monotonic() < end:
            feed()
    except Exception:
        # What hypothesis ran last is the smallest that it found.
        kept.mkdir(parents=True, exist_ok=True)
        (kept / f"{name}-{hashlib.sha256(last).hexdigest()[:12]}").write_bytes(last)
        raise
    print(f"hypothesis: {count} inputs")
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
