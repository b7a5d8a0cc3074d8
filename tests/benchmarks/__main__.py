"""``python -m tests.benchmarks [--rounds N] [--seconds S] [--write FOLDER] [NAME ...]`` prints the tables so named."""

from __future__ import annotations

import argparse
from pathlib import Path

from tests.benchmarks.harness import environment
from tests.benchmarks.sources import SOURCES, Run


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m tests.benchmarks", description="What a request costs in process.")
    parser.add_argument(
        "names",
        nargs="*",
        metavar="NAME",
        help="part of a table's name, such as 'ASGI hello'; 'bridges' stands for all about mounted apps, 'imports' for"
        " what it takes to import a framework",
    )
    parser.add_argument(
        "--rounds", type=int, default=Run.rounds, help="turns for each candidate (default: %(default)s)"
    )
    parser.add_argument("--seconds", type=float, default=Run.seconds, help="how long a turn is (default: %(default)s)")
    parser.add_argument("--list", action="store_true", help="print the names, and measure nothing")
    parser.add_argument("--write", type=Path, metavar="FOLDER", help="write the tables and charts to a folder as well")
    options = parser.parse_args()
    names = [name.lower() for name in options.names]
    sources = [source for source in SOURCES if not names or any(name in source.name.lower() for name in names)]
    if not sources:
        parser.error("no table has such a name: --list shows them")
    if options.list:
        print("\n".join(source.name for source in sources))
        return
    print(environment())
    run = Run(rounds=options.rounds, seconds=options.seconds)
    for source in sources:
        run.take(source)
    run.finish(options.write)


if __name__ == "__main__":
    main()
