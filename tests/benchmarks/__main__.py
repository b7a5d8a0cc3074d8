"""``python -m tests.benchmarks [--rounds N] [--seconds S] [NAME ...]`` prints the tables of the cases so named."""

from __future__ import annotations

import argparse

from tests.benchmarks import bridges
from tests.benchmarks.bridge_memory import memory, memory_table
from tests.benchmarks.cases import CASES, OURS
from tests.benchmarks.harness import environment, measure, summary, table
from tests.benchmarks.imports import imports_table, measure_imports


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m tests.benchmarks", description="What a request costs in process.")
    parser.add_argument(
        "names",
        nargs="*",
        metavar="NAME",
        help="part of a table's name, such as 'ASGI hello'; 'bridges' stands for all about mounted apps, 'imports' for"
        " what it takes to import a framework",
    )
    parser.add_argument("--rounds", type=int, default=7, help="turns for each candidate (default: 7)")
    parser.add_argument("--seconds", type=float, default=0.2, help="how long a turn is (default: 0.2)")
    options = parser.parse_args()
    names = [name.lower() for name in options.names]

    def named(title: str) -> bool:
        return not names or any(name in title.lower() for name in names)

    print(environment())
    results = []
    for case in CASES:
        if named(case.name):
            results.append(measure(case, rounds=options.rounds, seconds=options.seconds))
            print(f"\n{table(results[-1])}", flush=True)
    if results:
        print(f"\n{summary(results, OURS)}")
    for line in bridges.lines():
        if named(f"bridges {line.name}"):
            print(
                f"\n{bridges.table(bridges.measure(line, rounds=options.rounds, seconds=options.seconds))}", flush=True
            )
    for protocol, direction in bridges.DIRECTIONS.items():
        if named(f"bridges {direction}: memory"):
            print(f"\n{memory_table(memory(protocol, rounds=min(options.rounds, 3)))}", flush=True)
    if named("imports"):
        print(f"\n{imports_table(measure_imports(rounds=max(options.rounds, 9)))}")


if __name__ == "__main__":
    main()
