"""Tests beside a running build: none may write where a build reads or writes, so that `make test` and `make book` go together."""

import os
import sys

from l2m_utils.project import PROJECT

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
