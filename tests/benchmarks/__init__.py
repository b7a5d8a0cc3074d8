"""What a request costs in process, the server left out: dualroute beside Starlette, Falcon and the raw callable.

`tox -e bench` prints the tables.  From the root of a checkout, with dualroute, falcon and starlette installed,
``python -m tests.benchmarks`` prints them too: ``--help`` shows the options, and a name picks cases.

`harness` drives, checks, times and prints; `raw`, `ours`, `starlettes` and `falcons` hold the candidates, and `cases`
puts them side by side.
"""
