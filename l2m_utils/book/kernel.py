"""The kernel of a build: a plain IPython kernel that ends with its parent and notes what its cells read.

:func:`manager` starts it by its own command, not by a name that other kernels on the machine may have, too.
"""

from __future__ import annotations

import json
import os
import sys
from pathlib import Path

from l2m_utils.book.environment import python
from l2m_utils.project import PROJECT

_LEFT_OUT = {"_build", ".venv", ".cache", ".git", ".snakemake"}
_opened: set[str] = set()


def manager(folder: Path) -> type:
    """The class that starts this kernel for papermill; files of Jupyter and IPython lie below ``folder``, not in the user's home."""
    from jupyter_client.kernelspec import KernelSpec
    from jupyter_client.manager import AsyncKernelManager

    own = folder / "kernels"
    own.mkdir(parents=True, exist_ok=True)
    os.environ |= {"JUPYTER_RUNTIME_DIR": str(own), "IPYTHONDIR": str(own / "ipython")}

    class Manager(AsyncKernelManager):
        @property
        def kernel_spec(self) -> KernelSpec:
            return KernelSpec(display_name="Python 3", language="python")

        def format_kernel_cmd(self, extra_arguments: list[str] | None = None) -> list[str]:
            # As they are: Jupyter's own way takes braces and dollars of a path for its templates.
            return python("l2m_utils.book.kernel", "-f", self.connection_file, *(extra_arguments or []))

    return Manager


def main() -> None:
    """Run the kernel; Jupyter calls this in a process of its own."""
    from ipykernel.kernelapp import launch_new_instance

    from l2m_utils.book.processes import WATCHED, die_with_parent, end_with

    die_with_parent(int(os.environ.get("JPY_PARENT_PID", 0)) or None)
    if WATCHED in os.environ:
        end_with(os.environ[WATCHED])
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
