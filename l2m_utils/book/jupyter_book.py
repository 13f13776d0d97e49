"""The process that builds the pages: Jupyter Book, with a collector of garbage that looks less often.

Sphinx reads the trees of all pages, a million objects that stay.  Python's collector, set as it is for small programs, looks through them again and
again, which was three quarters of the time of a build.
"""

from __future__ import annotations

import gc

ALLOCATED = 5_000_000  # objects between two looks of the collector at the young ones; Python's own number is 700


def main() -> None:
    """Run ``jupyter-book`` with the words of the command line."""
    gc.set_threshold(ALLOCATED)
    from jupyter_book.cli.main import main as jupyter_book  # its imports allocate, too

    jupyter_book()
