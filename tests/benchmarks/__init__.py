"""What a request costs in process, the server left out: dualroute beside other frameworks and the raw callable.

`tox -e bench` prints the tables, and writes them and their charts to ``docs/benchmarks/``.  From the root of a
checkout, with dualroute and the dependency group ``bench`` installed, ``python -m tests.benchmarks`` prints them too:
``--help`` shows the options, and a name picks tables.

`sources` lists all that there is to measure, and has a run of it.  `harness` drives, checks and times; `cases` puts the
candidates side by side, and `memory` looks at what their requests take.  What is asked of them is in `asked`, and they
are in `raw`, in `ours`, and for each framework in a module of its name; `layers` are middleware of one protocol, for
any of them.  `report` writes and draws.

What it costs to mount an app of the other protocol is in `bridges`, and in `bridge_memory` how much memory it takes:
`bridge_apps` are mounted, by the candidates in `bridge_peers`, and called by `bridge_servers`.

`served` goes the whole way: requests per second through uvicorn and gunicorn, as `wrk` counts them, with the apps in
`served_apps`.
"""
