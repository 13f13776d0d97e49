"""All rules: every public function of a module of rules is one, under its name with hyphens.

A rule gives one line for each element that breaks it.  It knows no page, figure or link by name and leaves none out, and
``test_site_rules.py`` has a fault that breaks it.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable

import rules_content
import rules_loading
import rules_reading
import rules_site
import rules_structure


def _of(*modules) -> dict[str, Callable]:
    own = [one for module in modules for one in vars(module).values() if inspect.getmodule(one) is module]
    return {one.__name__.replace("_", "-"): one for one in own if inspect.isfunction(one) and one.__name__[0] != "_"}


RULES = _of(
    rules_loading, rules_structure, rules_content, rules_reading
)  # of one page: called with the page and the site
SITE_RULES = _of(rules_site)
