"""Settings of Sphinx, which builds the pages and the API reference: `python -m sphinx docs build/docs`."""

from __future__ import annotations

project = "Elman"
extensions = ["myst_parser", "sphinx.ext.autodoc", "sphinx.ext.napoleon"]
exclude_patterns = ["_build"]
# docstrings put names in single backticks
default_role = "code"
autodoc_member_order = "bysource"
autodoc_typehints = "none"
autodoc_default_options = {
    "members": True,
    # scikit-learn adds these, with references into its own documentation
    "exclude-members": "set_fit_request, set_partial_fit_request, set_predict_request, set_score_request",
}
myst_heading_anchors = 3
html_theme = "alabaster"
