"""Work for the children of test_gpu.py: a module of its own, because a child imports what holds its function, and torch is slow to import."""

import sys

from l2m_utils.experiments.gpu import children
from l2m_utils.experiments.gpu.archive import Rows


def work(path, deadline, fault=""):
    """Four items; the one called ``fault`` ends the process, "wrong" raises."""

    def item(name):
        if name == fault:
            sys.exit(9)
        if name == "wrong":
            raise ValueError("no such thing")
        return [{"value": name}]

    children.each(
        [(name, lambda name=name: item(name)) for name in ("one", "two", "wrong", "three")], Rows(path), deadline
    )
