"""Assemble the source and build the HTML strictly; the old book stays in place until the new one is whole.

A second build reads and writes only the pages whose text changed, and gives the same bytes as a first one: when anything changed
that other pages may show (:func:`skeleton`: titles, labels, numbers, citations, the library), all of them are built anew.
"""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import zipfile
import zlib
from pathlib import Path
from typing import Any

from l2m_utils.book.assemble import LICENCES, NOTEBOOKS_ZIP, assemble, home_of
from l2m_utils.book.environment import python
from l2m_utils.book.errors import BuildError
from l2m_utils.book.fingerprints import ENVIRONMENT, Hashes, digest_of, files_in, input_files, named
from l2m_utils.book.finish import finish
from l2m_utils.book.locks import Lock
from l2m_utils.book.processes import tied_to_us
from l2m_utils.book.site import PDF, read_site
from l2m_utils.files import write_atomically, write_json
from l2m_utils.project import PROJECT
from l2m_utils.records import RecordError
from l2m_utils.release.licences import read_licences, without_licence

# What the pages load of MathJax; the package ships 24 MB of other inputs, outputs, menus and speech rules.
MATHJAX_KEPT = (
    "startup.js",
    "core.js",
    "input/tex.js",
    "input/tex/extensions/",
    "output/chtml.js",
    "output/chtml/",
    "a11y/assistive-mml.js",
)
UNUSED = (
    ".map",
    ".woff2",
    "fontawesome.js",
    "fontawesome.js.LICENSE.txt",
    "sphinx-thebe.js",
    "sphinx-thebe.css",
    "macros.html",
)
# The whole library is in it: its docstrings are pages.
MADE_OF = (
    "book/**/*",
    "course/sessions.yml",
    "notebooks/*/*.md",
    "results/**/*",
    "l2m_utils/**/*.py",
    "benchmarks/report.json",
    "CITATION.cff",
    *ENVIRONMENT,
)
# Lines of a page on which other pages may depend.
_SHARED = re.compile(r"^\s*(#|\([\w-]+\)=|:{3,}|`{3,}|~{3,}|:\w+:|\$\$|---)|\{(cite|numref|eq|index|term)")
_ASSET = re.compile(rb'((?:href|src)=")([^"?#:]+\.(?:css|js))(?:\?v=[0-9a-f]*)?(")')


def ensure_html(folder: Path, outputs: dict[str, Any], hashes: Hashes, lock: Lock) -> bool:
    """Build ``folder/html`` if it is not what the inputs and the notebooks' ``outputs`` give; returns whether it was built."""
    slides = {named(path): hashes(path) for path in files_in(folder / "slides")}
    digest = digest_of([{named(path): hashes(path) for path in input_files(patterns=MADE_OF)}, slides, outputs])
    seal = folder / "seals" / "html.json"
    try:
        old = json.loads(seal.read_text())
    except (OSError, ValueError):  # none, or a damaged one
        old = None
    if old is not None and old == {"digest": digest, "outputs": _hashed(folder / "html", hashes)}:
        return False
    seal.unlink(missing_ok=True)
    build_html(folder, lock)
    write_json(seal, {"digest": digest, "outputs": _hashed(folder / "html", hashes)})
    return True


def ensure_pdf(folder: Path) -> bool:
    """Print ``folder/html``, which :func:`ensure_html` has built, to a PDF beside its pages; returns whether there was none yet."""
    from l2m_utils.book.pdf import make_pdf  # a build without a PDF needs no browser

    seal = folder / "seals" / "html.json"
    if (folder / "html" / PDF).exists():  # it belongs to these pages: new ones take the place of the whole folder
        return False
    digest = json.loads(seal.read_text())["digest"]
    seal.unlink()  # pages change now; a build that is stopped here makes them anew
    make_pdf(folder)
    write_json(seal, {"digest": digest, "outputs": _hashed(folder / "html", Hashes())})
    return True


def _hashed(html: Path, hashes: Hashes) -> dict[str, str | None]:
    return {path.relative_to(html).as_posix(): hashes(path) for path in files_in(html)}


def build_html(folder: Path, lock: Lock, edition: str = "reader") -> Path:
    """Build ``html`` in the home of an edition with ``jupyter-book build -n -W --keep-going``; returns its start page.

    Raises :class:`BuildError` with Sphinx's warnings when there are any; the old pages are then unchanged.
    """
    home = home_of(folder, edition)
    new, old, spare = home / "html.new", home / "html", home / "html.old"
    if spare.exists() and not old.exists():  # a build was killed between two renames
        spare.rename(old)
    site = read_site()
    try:
        source = assemble(folder, edition)
    except RecordError as error:
        raise BuildError(str(error)) from error
    built = _run_sphinx(home, source, lock)
    for path in (new, spare):
        shutil.rmtree(path, ignore_errors=True)
    shutil.copytree(built, new, ignore=_unused)
    finish(new, site)
    settle_versions(new)
    offer_clean_notebooks(source / NOTEBOOKS_ZIP, new)
    if (folder / "slides").is_dir():
        shutil.copytree(folder / "slides", new / "slides")
    refuse_unlicensed(new)
    if old.exists():
        old.rename(spare)
    new.rename(old)
    shutil.rmtree(spare, ignore_errors=True)
    return old / "index.html"


def _run_sphinx(folder: Path, source: Path, lock: Lock) -> Path:
    work = folder / "sphinx"
    hashes = Hashes()
    code = {named(path): hashes(path) for path in input_files(patterns=("l2m_utils/**/*.py", *ENVIRONMENT))}
    # Only the page that offers it for download depends on the archive, and Sphinx knows.
    texts = [path for path in files_in(source) if path.relative_to(source) != NOTEBOOKS_ZIP]
    shared = digest_of([{path.relative_to(source).as_posix(): skeleton(path) for path in texts}, code])
    mark = work / "skeleton"
    if not mark.exists() or mark.read_text() != shared:
        shutil.rmtree(work, ignore_errors=True)
    else:
        mark.unlink()  # until this build has succeeded: after warnings all pages are read again, so that they come again
    command = python("l2m_utils.book.jupyter_book", "build", str(source), "--path-output", str(work))
    done = subprocess.run(
        [*command, "-n", "-W", "--keep-going"],
        cwd=PROJECT,
        capture_output=True,
        encoding="utf-8",
        errors="replace",
        preexec_fn=tied_to_us(),
        pass_fds=[lock.work],
    )
    output = re.sub(r"\x1b\[[0-9;]*m", "", done.stdout + done.stderr)  # Sphinx colours even what is not a terminal
    write_atomically(folder / "sphinx.log", output.encode())
    built = work / "_build" / "html"
    if done.returncode or not (built / "index.html").exists():
        warnings = [line for line in output.splitlines() if "WARNING" in line or "ERROR" in line]
        said = list(dict.fromkeys(warnings)) or output.splitlines()[-20:]
        raise BuildError(
            "the book did not build cleanly:\n  "
            + "\n  ".join(said[:40])
            + f"\n  (whole log: {named(folder)}/sphinx.log)"
        )
    mark.write_text(shared)
    return built


def skeleton(path: Path) -> str:
    """What other pages may depend on of a file of the source: of a page its titles, labels and directives, of others everything.

    >>> import tempfile
    >>> page = Path(tempfile.mkdtemp()) / "page.md"
    >>> _ = page.write_text("(here)=\\n# Title\\n\\nProse that others never show.\\n")
    >>> skeleton(page)
    '(here)=\\n# Title'
    """
    if path.suffix == ".md":
        lines = path.read_text(encoding="utf-8").splitlines()
    elif path.suffix == ".ipynb":
        cells = json.loads(path.read_text(encoding="utf-8"))["cells"]
        lines = [
            line for cell in cells if cell["cell_type"] == "markdown" for line in "".join(cell["source"]).split("\n")
        ]
    else:
        return Hashes()(path) or ""
    return "\n".join(line for line in lines if _SHARED.search(line))


def offer_clean_notebooks(packed: Path, html: Path) -> None:
    """Let the download button of a chapter give the clean notebook, which runs elsewhere, in place of the executed page."""
    with zipfile.ZipFile(packed) as source:
        for name in source.namelist():
            target = html / "_sources" / "notebooks" / name
            if target.exists():
                target.write_bytes(source.read(name))


def settle_versions(html: Path) -> None:
    """Name every style sheet and script with a checksum of its content.

    Sphinx puts the checksum of the file that lies there while a page is written, which is another one, or none, in a first build.
    """
    sums: dict[Path, bytes] = {}

    def versioned(match: re.Match) -> bytes:
        path = Path(os.path.normpath(page.parent / match[2].decode()))
        if path not in sums:
            sums[path] = b"?v=%08x" % zlib.crc32(path.read_bytes()) if path.is_file() else b""
        return match[1] + match[2] + sums[path] + match[3]

    for page in html.rglob("*.html"):
        old = page.read_bytes()
        new = _ASSET.sub(versioned, old)
        if new != old:
            page.write_bytes(new)


def refuse_unlicensed(html: Path) -> None:
    """Raise :class:`BuildError` for a file of a site that could be the work of others and has no line in ``book/licences.yml``."""
    names = [path.relative_to(html).as_posix() for path in files_in(html)]
    if lacking := without_licence(names, read_licences(LICENCES)):
        raise BuildError(
            f"whose work is {', '.join(lacking[:5])} ({len(lacking)} file(s) of the pages)? Expected a line in book/licences.yml"
        )


def _unused(folder: str, names: list[str]) -> set[str]:
    """What no page loads of the static files, in the form that :func:`shutil.copytree` asks for: most of MathJax, maps, other languages."""
    parts = Path(folder).parts
    unused = {name for name in names if name.endswith(UNUSED)} if "_static" in parts else set()
    if parts[-1] == "_static":
        unused |= {"locales"} & set(names)
    if "mathjax" not in parts:
        return unused
    inside = "/".join(parts[len(parts) - parts[::-1].index("mathjax") :])
    paths = {name: f"{inside}/{name}".lstrip("/") for name in names}
    return unused | {
        name for name, path in paths.items() if not any(path.startswith(k) or k.startswith(path) for k in MATHJAX_KEPT)
    }
