"""What is handed out: the clean notebooks of an edition with the tables that they read, and what a teacher gets for one class."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path

from l2m_utils.book.assemble import page_texts
from l2m_utils.book.errors import BuildError
from l2m_utils.book.fingerprints import files_in
from l2m_utils.book.pools import read_pools
from l2m_utils.book.runnable import archive, clean_notebooks, runnable, wheel_to_install
from l2m_utils.book.sessions import GUIDE
from l2m_utils.course.checks import CheckedTask, tasks_in
from l2m_utils.course.nbgrader import with_nbgrader
from l2m_utils.course.seeded import assignment_files, with_seed
from l2m_utils.files import write_atomically


def page_values(build: Path | None = None) -> dict[str, str]:
    """What stands for ``{{ name }}`` on the pages of a build, or of the published records."""
    return page_texts(read_pools(build / "records" if build else None))


def seeded_tasks(path: Path, class_seed: int | str) -> tuple[CheckedTask, ...]:
    """The tasks of an assignment as a class with this seed has it."""
    cells, _ = with_seed(path, class_seed)
    return tuple(tasks_in(cells, path.stem, {}))


def assignments(class_seed: int | str, edition: str) -> dict[str, bytes]:
    """All assignments of a class as clean notebooks; the instructor's carry nbgrader's metadata."""
    files = {}
    for path in assignment_files():
        cells, texts = with_seed(path, class_seed)
        made = runnable(cells, f"assignments/{path.stem}", edition, texts, wheel=wheel_to_install())
        if edition == "instructor":
            made = with_nbgrader(made, tasks_in(cells, path.stem, {}))
        files[f"assignments/{path.stem}.ipynb"] = json.dumps(made, ensure_ascii=False, indent=1).encode()
    return files


def class_pack(class_seed: int | str, values: Mapping[str, str], build: Path | None = None) -> dict[str, bytes]:
    """What a teacher gets: the guide, chapters and assignments with answers and notes, below ``students`` the copies without, and the pages if they were built."""
    executed = build / "executed" if build else None
    files = clean_notebooks("instructor", values, executed) | assignments(class_seed, "instructor")
    students = clean_notebooks("student", values, executed) | assignments(class_seed, "student")
    files |= {f"students/{name}": content for name, content in students.items()}
    files["guide.md"] = GUIDE.read_bytes()
    if build and (html := build / "editions" / "instructor" / "html").is_dir():
        files |= {f"html/{path.relative_to(html).as_posix()}": path.read_bytes() for path in files_in(html)}
    return files


def write_files(out: Path, files: Mapping[str, bytes]) -> Path:
    """Write files below a folder; raises :class:`BuildError` when it is there and not empty."""
    if out.exists() and (not out.is_dir() or any(out.iterdir())):
        raise BuildError(f"{out}: expected a folder that is new or empty; name another with --out, or remove it")
    for name, content in files.items():
        write_atomically(out / name, content)
    return out


def write_zip(path: Path, files: Mapping[str, bytes]) -> Path:
    """Write files as one zip; returns its path."""
    return write_atomically(path, archive(files))
