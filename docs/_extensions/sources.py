"""Links of a page that lead out of ``docs/`` lead to the file in the repository, where the site has no page for it."""

from __future__ import annotations

import posixpath
from typing import Any

from docutils import nodes
from sphinx.addnodes import download_reference
from sphinx.application import Sphinx

REPOSITORY = "https://github.com/dualroute/dualroute/blob/main"


def setup(app: Sphinx) -> dict[str, Any]:
    """Connect all that to Sphinx."""
    app.connect("doctree-read", lead_to_repository, priority=100)
    return {"parallel_read_safe": True, "parallel_write_safe": True}


def lead_to_repository(app: Sphinx, doctree: nodes.document) -> None:
    """Turn a download of a file of the repository into a link to it."""
    folder = posixpath.dirname(f"docs/{app.env.docname}")
    for node in list(doctree.findall(download_reference)):
        path, hash_, anchor = node["reftarget"].partition("#")
        target = posixpath.normpath(posixpath.join(folder, path) if not path.startswith("/") else f"docs{path}")
        node.replace_self(
            nodes.reference("", "", *node.children, refuri=f"{REPOSITORY}/{target}{hash_}{anchor}", internal=False)
        )
