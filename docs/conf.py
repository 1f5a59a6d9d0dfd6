"""The settings of the site, which `nox -s docs` builds."""

from __future__ import annotations

import sys
import warnings
from pathlib import Path

import activations_xp

HERE = Path(__file__).parent
sys.path[:0] = [str(HERE), str(HERE.parent / "tests")]

project = "activations_xp"
version = release = activations_xp.__version__
html_title = "activations_xp"
html_show_copyright = False
html_show_sphinx = False

extensions = [
    "sphinx.ext.autodoc",
    "sphinx.ext.viewcode",
    "numpydoc",
    "myst_parser",
    "sphinx_design",
    "sphinx_copybutton",
    "_extension",
    "explorer",
]
exclude_patterns = ["_build", "_static", "_templates", "explorer/node_modules"]
nitpicky = True
# a name in single backticks is code, and a link where it is that of a public object
default_role = "any"
nitpick_ignore_regex = [("py:obj", r".*")]
suppress_warnings = ["ref.any"]

myst_enable_extensions = ["attrs_inline", "colon_fence", "dollarmath"]
myst_heading_anchors = 3
autodoc_typehints = "none"
numpydoc_show_class_members = False
# of docstrings that numpydoc reads for their signature alone
warnings.filterwarnings("ignore", "Unknown section Equivalents")
copybutton_prompt_text = r">>> |\.\.\. |\$ "
copybutton_prompt_is_regexp = True
copybutton_exclude = ".linenos, .gp, .go"

html_math_renderer = "mathml"
html_theme = "pydata_sphinx_theme"
html_static_path = ["_static"]
html_css_files = ["site.css"]
html_js_files = [("labels.js", {"defer": "defer"})]
html_logo = "_static/logo.svg"
html_favicon = "_static/logo.svg"
html_context = {"default_mode": "auto"}
html_theme_options = {
    "logo": {"text": "activations_xp"},
    "show_toc_level": 2,
    "navbar_align": "left",
    "header_links_before_dropdown": 6,
    "footer_start": [],
    "footer_end": [],
    "secondary_sidebar_items": {"**": ["page-toc"], "functions": []},  # a wide table
}
html_sidebars = {
    "choosing": [],
    "which": [],
    "where": [],
    "explorer/index": [],
}  # which have no pages beside them
html_copy_source = False
html_show_sourcelink = False
