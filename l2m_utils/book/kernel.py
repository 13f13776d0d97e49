"""The kernel of a build: a plain IPython kernel that ends with its parent and notes what its cells read.

:func:`kernel_environment` installs it for one build under a name of its own, so that no other kernel on the machine can take its place.
"""

from __future__ import annotations

import json
import os
import sys
from pathlib import Path

from l2m_utils.files import write_json
from l2m_utils.project import PROJECT

_KERNEL_NAME = "l2m-book"
_LEFT_OUT = {"_build", ".venv", ".cache", ".git", ".snakemake"}
_opened: set[str] = set()


def kernel_environment(folder: Path) -> str:
    """Write the kernel's description below ``folder`` and let Jupyter look there first; returns the kernel's name."""
    start = "from l2m_utils.book.kernel import main; main()"
    write_json(
        folder / "kernels" / _KERNEL_NAME / "kernel.json",
        {
            "argv": [sys.executable, "-c", start, "-f", "{connection_file}"],
            "display_name": "Python 3",
            "language": "python",
        },
    )
    os.environ["JUPYTER_PATH"] = os.pathsep.join(
        [str(folder), *filter(None, os.environ.get("JUPYTER_PATH", "").split(os.pathsep))]
    )
    others = [path for path in os.environ.get("PYTHONPATH", "").split(os.pathsep) if path and path != str(PROJECT)]
    os.environ["PYTHONPATH"] = os.pathsep.join([str(PROJECT), *others])
    return _KERNEL_NAME


def main() -> None:
    """Run the kernel; Jupyter calls this in a process of its own."""
    from ipykernel.kernelapp import launch_new_instance

    from l2m_utils.book.processes import die_with_parent

    die_with_parent(int(os.environ.get("JPY_PARENT_PID", 0)) or None)
    sys.addaudithook(_note)
    launch_new_instance()


def _note(event: str, arguments: tuple) -> None:
    if event == "open" and isinstance(arguments[0], str) and (arguments[2] or 0) & (os.O_WRONLY | os.O_RDWR) == 0:
        _opened.add(arguments[0])


def report() -> str:
    """What the cells have used so far, as JSON: modules of the library, and files of the project other than code and builds."""
    files = set()
    for name in _opened:
        path = Path(os.path.abspath(name))
        if path.is_relative_to(PROJECT) and path.suffix not in (".py", ".pyc") and path.is_file():
            relative = path.relative_to(PROJECT)
            if relative.parts[0] not in _LEFT_OUT:
                files.add(relative.as_posix())
    modules = {name for name in list(sys.modules) if name.split(".")[0] == "l2m_utils"}
    return json.dumps({"files": sorted(files), "modules": sorted(modules)})
