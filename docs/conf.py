"""How Sphinx makes the site of these pages: ``tox -e docs``.

Nothing is fetched, neither while it is built nor by who reads it: no inventories of other projects, fonts or scripts.
"""

from __future__ import annotations

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent / "_extensions"))

import dualroute

project = "dualroute"
author = "the dualroute authors"
copyright = "the dualroute authors"
version = release = dualroute.__version__

extensions = [
    "sphinx.ext.autodoc",
    "sphinx.ext.napoleon",
    "myst_parser",
    # In _extensions/
    "docstrings",
    "generated",
    "sources",
]
exclude_patterns = ["_build", "examples"]
nitpicky = True
smartquotes = False  # of which options, such as --help, would not stay what they are

# Pages

myst_heading_anchors = 4
myst_enable_extensions = ["colon_fence"]

# The reference.  In docstrings a single backtick is around a name, which becomes a link where the reference has it, and
# two are around what is quoted as it is.
default_role = "name"
autodoc_default_options = {"members": True, "member-order": "bysource", "show-inheritance": True}
autodoc_preserve_defaults = True
autodoc_typehints_format = "short"
napoleon_numpy_docstring = False
python_display_short_literal_types = True
maximum_signature_line_length = 100
toc_object_entries_show_parents = "hide"

# The site

html_theme = "furo"
html_title = f"dualroute {release}"
html_static_path = ["_static"]
html_css_files = ["site.css"]
html_copy_source = False
html_show_sourcelink = False
html_show_copyright = False
html_theme_options = {
    "source_repository": "https://github.com/dualroute/dualroute/",
    "source_branch": "main",
    "source_directory": "docs/",
}
