"""How Sphinx makes the manual: ``make docs``."""

import importlib.metadata

project = "napari-sam"
author = "The napari-sam authors"
release = version = importlib.metadata.version("napari-sam")

extensions = ["myst_parser", "sphinx.ext.autodoc", "sphinx.ext.napoleon"]
myst_enable_extensions = ["colon_fence"]
myst_heading_anchors = 3
nitpicky = False

autodoc_typehints = "none"  # the docstrings give shapes and units, which say more
autodoc_member_order = "bysource"
napoleon_google_docstring = False

html_theme = "napari_sphinx_theme"
html_title = "napari-sam"
html_theme_options = {"show_prev_next": True, "secondary_sidebar_items": ["page-toc"]}
html_sidebars = {"**": ["sidebar-nav-bs"]}
