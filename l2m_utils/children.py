"""A process of a pool ends with the one that started it, however that ends: a killed run leaves nobody who goes on writing."""

from __future__ import annotations

import multiprocessing
import os
import threading


def end_with_parent() -> None:
    """End this process as soon as its parent is gone; the ``initializer`` of every pool, without effect in a process of its own.

    A worker waits for orders on a pipe whose other end its siblings hold, too, so that it would wait for ever.
    """
    parent = multiprocessing.parent_process()
    if parent is None:
        return

    def watch() -> None:
        parent.join()
        os._exit(1)

    threading.Thread(target=watch, daemon=True, name="parent-watch").start()
