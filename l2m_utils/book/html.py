"""Assemble the source and build the HTML strictly; the old book stays in place until the new one is whole."""

from __future__ import annotations

import argparse
import re
import shutil
import subprocess
import sys
from pathlib import Path

from l2m_utils.book.assemble import assemble
from l2m_utils.book.plan import BuildError
from l2m_utils.files import write_atomically
from l2m_utils.project import PROJECT

# What the pages load of MathJax; the package ships 24 MB of other inputs, outputs and speech rules.
MATHJAX_KEPT = ("tex-chtml.js", "output/chtml/", "input/tex/extensions/", "a11y/assistive-mml.js")


def build_html(folder: Path) -> Path:
    """Build ``folder/html`` with ``jupyter-book build -n -W --keep-going``; returns its start page.

    Raises :class:`BuildError` with Sphinx's warnings when there are any; ``folder/html`` is then unchanged.
    """
    source = assemble(folder)
    work = folder / "sphinx"
    jupyter_book = Path(sys.executable).with_name("jupyter-book")
    command = [str(jupyter_book), "build", str(source), "--path-output", str(work), "-n", "-W", "--keep-going"]
    done = subprocess.run(command, cwd=PROJECT, capture_output=True, text=True)
    output = re.sub(r"\x1b\[[0-9;]*m", "", done.stdout + done.stderr)  # Sphinx colours even what is not a terminal
    write_atomically(folder / "sphinx.log", output.encode())
    built = work / "_build" / "html"
    if done.returncode or not (built / "index.html").exists():
        warnings = [line for line in output.splitlines() if "WARNING" in line or "ERROR" in line]
        said = list(dict.fromkeys(warnings)) or output.splitlines()[-20:]
        raise BuildError(
            "the book did not build cleanly:\n  "
            + "\n  ".join(said[:40])
            + f"\n  (whole log: {folder.relative_to(PROJECT)}/sphinx.log)"
        )
    new, old = folder / "html.new", folder / "html"
    shutil.rmtree(new, ignore_errors=True)
    shutil.copytree(built, new)
    prune(new)
    shutil.rmtree(old, ignore_errors=True)
    new.rename(old)
    return old / "index.html"


def prune(html: Path) -> None:
    """Remove the parts of MathJax that no page loads."""
    home = html / "_static" / "mathjax"
    for path in [path for path in home.rglob("*") if path.is_file()]:
        if not path.relative_to(home).as_posix().startswith(MATHJAX_KEPT):
            path.unlink()


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--tier", required=True)
    parser.add_argument("--folder", required=True, type=Path)
    options = parser.parse_args()
    folder = options.folder if options.folder.is_absolute() else PROJECT / options.folder
    (folder / "errors" / "html.txt").unlink(missing_ok=True)
    try:
        print("building the pages", flush=True)
        build_html(folder)
    except BuildError as error:
        write_atomically(folder / "errors" / "html.txt", f"{error}\n".encode())
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
