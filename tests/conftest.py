"""Tests beside a running build: none may write where a build reads or writes, so that `make test` and `make book` go together."""

import contextlib
import os
import signal
import sys

from l2m_utils.project import PROJECT

# A run that was started in the background ignores interrupts, and so would the commands that tests start and interrupt.
if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
    with contextlib.suppress(ValueError):  # not the main thread
        signal.signal(signal.SIGINT, signal.default_int_handler)

_KEPT = tuple(
    str(PROJECT / name) + os.sep for name in ("_build", "results", "book", "notebooks", "workflow", "l2m_utils")
)
_FREE = (str(PROJECT / "_build" / "coverage"),)
# Where in the arguments of an event of the interpreter the paths stand that it changes.
_CHANGES = {
    "os.mkdir": (0,),
    "os.rename": (0, 1),
    "os.remove": (0,),
    "os.rmdir": (0,),
    "os.truncate": (0,),
    "shutil.rmtree": (0,),
}


def _forbid(event: str, arguments: tuple) -> None:
    if event == "open":
        path, _, flags = arguments
        paths = (path,) if (flags or 0) & (os.O_WRONLY | os.O_RDWR) else ()
    elif event in _CHANGES:
        paths = tuple(arguments[place] for place in _CHANGES[event])
    else:
        return
    for path in paths:
        if isinstance(path, (str, os.PathLike)):
            full = os.path.abspath(path)
            if full.startswith(_KEPT) and not full.startswith(_FREE) and "__pycache__" not in full:
                raise PermissionError(f"a test changes {full} ({event}), which a build may be using: take tmp_path")


sys.addaudithook(_forbid)
