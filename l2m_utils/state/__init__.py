"""The history state of language models as a function of length, and the L²M condition.

Importing this package is cheap: :func:`history_state`, :func:`l2m_condition` and the other names below
load their module on first use.  ``python -m l2m_utils.state`` prints the atlas.
"""

from __future__ import annotations

_HOME = {
    "Growth": "kinds",
    "Term": "kinds",
    "Architecture": "kinds",
    "HistoryState": "kinds",
    "StateError": "kinds",
    "history_state": "transformers_configs",
    "architecture_of": "transformers_configs",
    "l2m_condition": "condition",
    "TextLaw": "condition",
}
__all__ = sorted(_HOME)


def __getattr__(name: str):
    if name not in _HOME:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}; it has {', '.join(__all__)}")
    from importlib import import_module

    return getattr(import_module(f"{__name__}.{_HOME[name]}"), name)
