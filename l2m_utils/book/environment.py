"""The environment of a build is its own: what a user's shell sets for other work changes no page.

Modules on ``PYTHONPATH``, kernels on ``JUPYTER_PATH``, start-up files of IPython and the locale all reach a Python program through
variables of the environment.  The front door starts itself again without them (:func:`isolate`), and everything that it starts is
called by :func:`python`.
"""

from __future__ import annotations

import os
import sys
from pathlib import Path

_LIBRARY = str(Path(__file__).resolve().parents[2])  # the folder in which l2m_utils lies
# The process that must not be outlived, set by the Makefile: a killed `make` ends its build.
PARENT = "L2M_PARENT"
_FOREIGN = ("PYTHON", "JUPYTER", "IPYTHON", "SNAKEMAKE", "SPHINX", "MATPLOTLIBRC", "LC_", "LANG")
_START = "import sys; sys.path.insert(0, sys.argv.pop(1)); from {module} import main; sys.exit(main())"


def python(module: str, *words: str) -> list[str]:
    """The command that calls ``main()`` of ``module`` in a Python of this environment: UTF-8, no foreign path, this library before any other.

    The library's place is handed over as a word, since a path that holds a colon cannot stand in ``PYTHONPATH``.
    """
    return [sys.executable, "-E", "-P", "-X", "utf8", "-c", _START.format(module=module), _LIBRARY, *words]


def settle() -> None:
    """Take out of this process's environment what is foreign, so that nothing that it starts sees it."""
    for name in [name for name in os.environ if name.startswith(_FOREIGN)]:
        del os.environ[name]
    os.environ |= {"LC_ALL": "C.UTF-8", "MATPLOTLIBRC": os.devnull}


def isolate() -> None:
    """Go on as a Python of :func:`python` with the words of the command line; returns when this process is one."""
    if sys.flags.ignore_environment and sys.flags.safe_path and sys.flags.utf8_mode:
        settle()
        return
    # Options of the interpreter that watch a run, such as `-X importtime`, stay.
    options = {name: value for name, value in sys._xoptions.items() if name != "utf8"}
    watched = [f"-X{name}" if value is True else f"-X{name}={value}" for name, value in options.items()]
    first, *others = python("l2m_utils.cli.main", *sys.argv[1:])
    sys.stdout.flush()
    os.execv(first, [first, *watched, *others])
