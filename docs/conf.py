"""The documentation site: `make docs` builds it into `site/`, and a warning is an error."""

project = 'NAICS in hyperbolic space'
extensions = ['myst_parser', 'sphinx.ext.autodoc', 'sphinx.ext.napoleon', 'sphinx_copybutton']
exclude_patterns = ['pictures']

html_theme = 'furo'
html_title = project
html_static_path: list[str] = []
html_show_sphinx = False
html_copy_source = False

# `name` in a docstring is code.
default_role = 'code'
# Headings are link targets, so that a page can point into another one.
myst_heading_anchors = 3
# A prompt is no part of a command.
copybutton_prompt_text = '$ '

napoleon_use_ivar = True
autodoc_member_order = 'bysource'
autodoc_typehints = 'signature'
autodoc_preserve_defaults = True
# Plain signatures: `Tensor`, not `torch.Tensor`.
python_use_unqualified_type_names = True
add_module_names = False
