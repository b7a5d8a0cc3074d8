"""What a request costs in process, the server left out: dualroute beside Starlette, Falcon and the raw callable.

`tox -e bench` prints the tables.  From the root of a checkout, with dualroute and the dependency group ``bench``
installed, ``python -m tests.benchmarks`` prints them too: ``--help`` shows the options, and a name picks tables.

`harness` drives, checks, times and prints; `raw`, `ours`, `starlettes` and `falcons` hold the candidates, and `cases`
puts them side by side.

What it costs to mount an app of the other protocol is in `bridges`, and in `bridge_memory` how much memory it takes:
`bridge_apps` are mounted, by the candidates in `bridge_peers`, and called by `bridge_servers`.

`served` goes the whole way: requests per second through uvicorn and gunicorn, as `wrk` counts them, with the apps in
`served_apps`.
"""
