"""Clean notebooks: chapters without outputs that run outside of a checkout, from a wheel of the library and a folder of published tables."""

from __future__ import annotations

import io
import json
import re
import zipfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from l2m_utils import __version__
from l2m_utils.book.commonmark import labels_of, to_commonmark
from l2m_utils.book.editions import shown_in
from l2m_utils.book.errors import BuildError
from l2m_utils.book.exercises import cell_tags, coded_exercises, text_of
from l2m_utils.book.fingerprints import named
from l2m_utils.book.site import Site, read_site
from l2m_utils.book.source import notebook_paths, read_notebook
from l2m_utils.project import PROJECT

DATA = "l2m-data"  # folder beside the notebooks, or above them, in the place of a checkout's results
_INSTALL = """# Run this cell first. It installs the library of the book where it is missing.
import importlib.util, os, subprocess, sys
from pathlib import Path

here = next((folder for folder in (Path.cwd(), Path.cwd().parent) if (folder / "{data}").is_dir()), Path.cwd())
os.environ.setdefault("L2M_HOME", str(here / "{data}"))
if importlib.util.find_spec("l2m_utils") is None:
    subprocess.run([sys.executable, "-m", "pip", "install", "--quiet", {wheel}], check=True, cwd=here)
"""
_NEEDS_DATA = """if not (here / "{data}").is_dir():
    print("This chapter reads published tables: unpack notebooks.zip of the book, which holds the folder {data}, beside this notebook.")
"""


def runnable(
    cells: list,
    name: str,
    edition: str,
    values: Mapping[str, str],
    *,
    wheel: str,
    data: bool = False,
    drawn: list[list] | None = None,
) -> dict[str, Any]:
    """A chapter as a clean notebook of an edition, in the format of nbformat 4.5.

    ``values`` replace ``{{ name }}`` in its text; ``wheel`` is what pip installs, an address or a file beside the notebooks; ``data``: it reads
    published tables; ``drawn``: the outputs of its cells tagged ``expected``, in their order, which show what an answer should give.  The cell of an answer carries the label of its exercise in its metadata, by which it is found again when it is graded.
    """
    exercises = {exercise.solution: exercise.label for exercise in coded_exercises(cells, name)}
    drawn = list(drawn or [])
    plain = []
    for number, cell in enumerate(cells):
        metadata: dict[str, Any] = {"tags": list(tags)} if (tags := cell_tags(cell)) else {}
        if number in exercises:
            metadata["l2m"] = {"exercise": exercises[number]}
        kept = {
            "cell_type": cell["cell_type"],
            "id": f"cell-{number:03d}",
            "metadata": metadata,
            "source": text_of(cell),
        }
        outputs = drawn.pop(0) if drawn and "expected" in tags else []
        plain.append(kept | ({"outputs": outputs, "execution_count": None} if cell["cell_type"] == "code" else {}))
    cut = shown_in({"cells": plain}, edition, name, placed=False)["cells"]
    # What the chapter itself records and no build has kept yet stands below its text when it has run.
    own = f"{name}__".replace("/", "_").replace("-", "_")
    named_here = re.findall(rf"\{{\{{\s*({own}\w+)", "\n".join(text_of(cell) for cell in cut))
    values = {key: "(computed below)" for key in named_here} | dict(values)
    labels = labels_of(text_of(cell) for cell in plain if cell["cell_type"] == "markdown")
    for cell in cut:
        if cell["cell_type"] == "markdown":
            try:
                cell["source"] = to_commonmark(cell["source"], labels, values)
            except BuildError as error:
                raise BuildError(f"{name}: {error}") from error
    source = _INSTALL.format(data=DATA, wheel=json.dumps(wheel)) + (_NEEDS_DATA.format(data=DATA) if data else "")
    first = {
        "cell_type": "code",
        "id": "install",
        "metadata": {},
        "source": source.rstrip("\n"),
        "outputs": [],
        "execution_count": None,
    }
    return {
        "cells": [first, *cut],
        "metadata": {
            "kernelspec": {"display_name": "Python 3", "language": "python", "name": "python3"},
            "l2m": {"source": name, "edition": edition},
        },
        "nbformat": 4,
        "nbformat_minor": 5,
    }


def data_files(metadata: Mapping[str, Any], names: list[str]) -> list[Path]:
    """Files of the project that a chapter reads besides the library: the tables and records that its front matter names.

    ``names`` are all chapters.  Pictures of records stay behind.
    """
    found: set[Path] = set()
    for stored in metadata.get("stored", ()):
        notebook, table = stored.split(":")
        found |= set(PROJECT.glob(f"results/*/{notebook}/tables/{table}.*"))
    for need in metadata.get("needs", ()):
        if need not in names:
            raise BuildError(f"{need} is no chapter")
        found |= {path for path in PROJECT.glob(f"results/*/{need}/**/*") if path.is_file() and path.suffix != ".svg"}
    found |= {PROJECT / file for file in metadata.get("files", ()) if "{" not in file}
    return sorted(path for path in found if named(path) and path.is_file())


def wheel_to_install(site: Site | None = None) -> str:
    """What the notebooks install: the address of the released wheel, or the file name of one beside them where none is set.

    >>> wheel_to_install(Site(wheel="https://example.org/l2m_book-9.whl"))
    'https://example.org/l2m_book-9.whl'
    """
    return (site or read_site()).wheel or f"l2m_book-{__version__}-py3-none-any.whl"


def clean_notebooks(edition: str, values: Mapping[str, str], executed: Path | None = None) -> dict[str, bytes]:
    """All chapters of an edition as clean notebooks, ``section/name.ipynb``, and below :data:`DATA` the files that they read.

    ``executed`` is the folder of executed pages, from which the pictures of ``expected`` cells come.
    """
    files: dict[str, bytes] = {}
    paths = notebook_paths()
    for name, path in paths.items():
        notebook = read_notebook(path)
        data = data_files(notebook.metadata.get("l2m", {}), list(paths))
        drawn = _drawn(executed / f"{name}.ipynb") if executed else None
        made = runnable(notebook.cells, name, edition, values, wheel=wheel_to_install(), data=bool(data), drawn=drawn)
        files[f"{name}.ipynb"] = json.dumps(made, ensure_ascii=False, indent=1).encode()
        files |= {f"{DATA}/{named(file)}": file.read_bytes() for file in data}
    return files


def _drawn(page: Path) -> list[list]:
    if not page.is_file():
        return []
    cells = json.loads(page.read_bytes())["cells"]
    return [
        [{**output, "metadata": {}} if "data" in output else output for output in cell["outputs"]]
        for cell in cells
        if "expected" in cell_tags(cell)
    ]


def archive(files: Mapping[str, bytes]) -> bytes:
    """A zip file that is the same bytes for the same files.

    >>> archive({"a": b"1"}) == archive({"a": b"1"})
    True
    """
    stream = io.BytesIO()
    with zipfile.ZipFile(stream, "w", zipfile.ZIP_DEFLATED) as target:
        for name in sorted(files):
            entry = zipfile.ZipInfo(name, (2026, 1, 1, 0, 0, 0))
            entry.external_attr = 0o644 << 16
            target.writestr(entry, files[name], zipfile.ZIP_DEFLATED)
    return stream.getvalue()
