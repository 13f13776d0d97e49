"""Which ruler a record is of: what its field ``model`` names, and when two records are of different ones."""

from __future__ import annotations

import re
from collections.abc import Collection


def ruler_name(model: str) -> str:
    """The name of the ruler in a record's field ``model``: its first word; version, number format, size and training follow behind a space or a comma.

    >>> ruler_name("smollm2-135m 0.1.2-b179c9523d0e float32"), ruler_name("gpt2, 900 steps"), ruler_name("3 rulers like: gpt2, 900 steps")
    ('smollm2-135m', 'gpt2', 'gpt2')
    """
    return re.split(r"[ ,]", model.rpartition(": ")[2], maxsplit=1)[0]


def of_ruler(model: str, ruler: str) -> bool:
    """Whether a record's field ``model`` names ``ruler``: it is the name itself, or goes on behind it with a space or a comma.

    >>> [of_ruler(f"smollm2-135m{rest}", "smollm2-135m") for rest in ("", " 0.1.2 float32", ", 900 steps", "-instruct 1")]
    [True, True, True, False]
    """
    return re.match(rf"{re.escape(ruler)}(?![^ ,])", model) is not None


def rulers_differ(first: Collection[str], second: Collection[str]) -> bool:
    """Whether of the models of two sets of records each names a ruler that the other lacks; records without a model name none.

    >>> rulers_differ(["gpt2, 9 steps"], ["gpt2, 8 steps", "mamba2"]), rulers_differ(["gpt2", "exact"], ["mamba2", "exact"])
    (False, True)
    """
    one, other = ({ruler_name(model) for model in models if model} for models in (first, second))
    return bool(one - other and other - one)
