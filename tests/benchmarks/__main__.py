"""``python -m tests.benchmarks [--rounds N] [--seconds S] [NAME ...]`` prints the tables of the cases so named."""

from __future__ import annotations

import argparse

from tests.benchmarks.cases import CASES, OURS
from tests.benchmarks.harness import environment, measure, summary, table


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m tests.benchmarks", description="What a request costs in process.")
    parser.add_argument("names", nargs="*", metavar="NAME", help="part of a case's name, such as 'ASGI hello'")
    parser.add_argument("--rounds", type=int, default=7, help="turns for each candidate (default: 7)")
    parser.add_argument("--seconds", type=float, default=0.2, help="how long a turn is (default: 0.2)")
    options = parser.parse_args()
    print(environment())
    results = []
    for case in CASES:
        if not options.names or any(name.lower() in case.name.lower() for name in options.names):
            results.append(measure(case, rounds=options.rounds, seconds=options.seconds))
            print(f"\n{table(results[-1])}", flush=True)
    if results:
        print(f"\n{summary(results, OURS)}")


if __name__ == "__main__":
    main()
