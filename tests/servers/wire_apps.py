"""The site of the wire cases for server processes, which import it as `wire_apps`."""

from __future__ import annotations

from pathlib import Path
from tempfile import mkdtemp

from apps import FOLDER, report  # type: ignore[import-not-found]  # it stands beside this file
from wire_site import site  # type: ignore[import-not-found]

# A folder for each process, since each worker makes its files.
app = site(report, Path(mkdtemp(dir=FOLDER)))
