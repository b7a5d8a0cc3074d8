"""``python -m dualroute`` is the ``dualroute`` command."""

import sys

from dualroute.cli import main

if __name__ == "__main__":
    sys.exit(main())
