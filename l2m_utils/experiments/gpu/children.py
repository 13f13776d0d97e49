"""Work that may take its process with it: a child does it item by item, and is started again behind the item that killed it.

After a fault in a GPU kernel every later call of the same process fails, so that the process must end; an item can also
hang.  What a child finished is in a file of :class:`~l2m_utils.experiments.gpu.archive.Rows`.
"""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Iterable
from multiprocessing import get_context
from pathlib import Path

from l2m_utils.experiments.gpu.archive import Rows, plain

FAULTED = 3  # exit status of a child whose GPU context is lost


def usable() -> bool:
    """Whether the GPU of this process still answers; true where it has none."""
    torch = sys.modules.get("torch")
    if torch is None or not torch.cuda.is_initialized():
        return True
    try:
        torch.cuda.synchronize()
        return bool((torch.ones(2, device="cuda") + 1).sum().item() == 4)
    except Exception:
        return False


def each(items: Iterable[tuple[str, Callable[[], list[dict]]]], rows: Rows, deadline: float) -> None:
    """Do the items (name, function that gives rows) that have no row yet, until ``deadline`` on the clock ``time.time``; an error is a row as well.

    Ends the process with :data:`FAULTED` when an error has cost it its GPU.
    """
    done = {row["item"] for row in rows.read()}  # by this child or by one before it
    for name, work in items:
        if name in done:
            continue
        if time.time() > deadline:
            return
        done.add(name)
        rows.add(item=name, begun=True)
        start = time.perf_counter()
        try:
            for row in work():
                rows.add(item=name, **row)
        except Exception as error:
            rows.add(item=name, error=f"{type(error).__name__}: {error}"[:1500])
            print(f"  {name}: {type(error).__name__}: {str(error)[:400]}", flush=True)
            if not usable():
                sys.exit(FAULTED)
            torch = sys.modules.get("torch")
            if torch is not None and torch.cuda.is_initialized():
                torch.cuda.empty_cache()
        rows.add(item=name, begun=False, item_seconds=time.perf_counter() - start)


def in_child(function: Callable, path: Path, seconds: float, refresh: Callable[[], None], **options) -> list[dict]:
    """Run ``function(path, deadline, **options)`` in a child for at most ``seconds``, again behind what killed it; returns the rows in ``path``.

    ``refresh()`` is called every few seconds meanwhile.  A child that hangs is killed, and loses the item it was at.
    """
    end = time.monotonic() + seconds
    while True:
        before = len(Rows(path).read())
        child = get_context("spawn").Process(
            target=function, args=(path, time.time() + max(0.0, end - time.monotonic())), kwargs=options
        )
        child.start()
        while child.is_alive() and time.monotonic() < end + 1:
            child.join(3.0 if end - time.monotonic() > 3 else 0.5)
            refresh()
        if child.is_alive():
            child.kill()
        child.join()
        if child.exitcode == 0 or time.monotonic() > end - 8 or len(Rows(path).read()) == before:
            return plain(Rows(path).read())
        print(f"  a child ended with status {child.exitcode}; going on behind the item that it was at", flush=True)
