"""Grade a folder of notebooks: checks from our source, answers from the submissions, each tried in a process of its own."""

from __future__ import annotations

import csv
import io
import re
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any

from tqdm import tqdm

from l2m_utils.book.errors import BuildError
from l2m_utils.book.source import notebook_paths
from l2m_utils.course.checks import CheckedTask, tasks_of
from l2m_utils.course.jail import Limits, Outcome, judge
from l2m_utils.course.slices import answer_setup
from l2m_utils.course.submissions import Submission, answer_to, submissions_in
from l2m_utils.files import write_atomically, write_json

_COLUMNS = ("file", "source", "passed", "of", "points", "of_points", "isolated", "exercises", "notes")


@dataclass(frozen=True)
class Mark:
    """What one exercise of one submission gets."""

    exercise: str
    state: str  # of a Outcome, or "missing"
    points: float
    of_points: float
    message: str = ""
    network: bool = False
    files: bool = False


@lru_cache
def chapter_tasks(source: str) -> tuple[CheckedTask, ...]:
    """The tasks of a chapter ``section/name``; raises :class:`BuildError` for a name that is none of ours."""
    known = notebook_paths()
    if source not in known:
        raise BuildError(f"no notebook {source!r} in this book; name one with --source, such as theory/concept")
    return tuple(tasks_of(known[source]))


def source_of_file(submission: Submission, given: str) -> str:
    """The chapter of a submission: the given one, the one that it names, or the only one with its file name."""
    if given:
        return given
    named = notebook_paths()
    if submission.source in named:
        return submission.source
    stems = [name for name in named if name.split("/")[1] == Path(submission.path).stem]
    return stems[0] if len(stems) == 1 else ""


def grade_one(submission: Submission, tasks: tuple[CheckedTask, ...], limits: Limits) -> list[Mark]:
    """A mark for each task; notes on odd cells go to the submission."""
    marks = []
    for task in tasks:
        answer, note = answer_to(task, submission)
        submission.notes += [note] if note else []
        if answer is None:
            marks.append(Mark(task.label, "missing", 0, task.points, "there is no cell with an answer"))
            continue
        if answer.strip() == task.stub.strip():
            verdict = Outcome("not answered", "the cell is as it was handed out")
        else:
            verdict = judge(answer_setup(task.before, task.setup, answer), answer, task.check, limits)
        points = task.points if verdict.state == "passed" else 0
        marks.append(
            Mark(task.label, verdict.state, points, task.points, verdict.message, verdict.network, verdict.files)
        )
    return marks


def grade_folder(
    folder: Path,
    out: Path,
    *,
    source: str = "",
    tasks: tuple[CheckedTask, ...] = (),
    limits: Limits | None = None,
    jobs: int = 1,
) -> list[dict[str, Any]]:
    """Grade every file below ``folder``; writes a JSON each and ``grades.csv`` to ``out`` and returns the rows.

    ``tasks`` are used in place of those of a chapter when they are given.  Raises :class:`BuildError` when ``folder`` is none or holds nothing.
    """
    if not folder.is_dir():
        raise BuildError(f"{folder}: expected a folder of notebooks")
    found = submissions_in(folder)
    if not found:
        raise BuildError(f"{folder}: there is no file in it")
    if source and not tasks:
        tasks = chapter_tasks(source)

    def graded(submission: Submission) -> dict[str, Any]:
        wanted = source_of_file(submission, source)
        marks: list[Mark] = []
        if submission.readable and not (tasks or wanted):
            submission.notes.append("it does not say which chapter it is of; name it with --source")
        elif submission.readable:
            marks = grade_one(submission, tasks or chapter_tasks(wanted), limits or Limits())
        return _row(submission, wanted, marks)

    with ThreadPoolExecutor(jobs) as pool:
        rows = list(tqdm(pool.map(graded, found), total=len(found), desc="grading", unit="file"))
    for number, row in enumerate(rows):
        stem = re.sub(r"[^\w.-]", "_", row["file"])[-80:]
        write_json(out / f"{number:04d}-{stem}.json", row)
    write_atomically(out / "grades.csv", _csv(rows).encode())
    return rows


def _row(submission: Submission, source: str, marks: list[Mark]) -> dict[str, Any]:
    tried = [mark for mark in marks if mark.state in ("passed", "failed", "stopped")]
    return {
        "file": submission.path,
        "source": source,
        "passed": sum(mark.state == "passed" for mark in marks),
        "of": len(marks),
        "points": sum(mark.points for mark in marks),
        "of_points": sum(mark.of_points for mark in marks),
        "isolated": {
            "network": all(mark.network for mark in tried) if tried else None,
            "files": all(mark.files for mark in tried) if tried else None,
        },
        "exercises": [asdict(mark) for mark in marks],
        "notes": submission.notes,
    }


def _csv(rows: list[dict[str, Any]]) -> str:
    """One line a submission; a text that a spreadsheet would take for a formula is quoted."""
    show: dict[str, Callable[[Any], str]] = {
        "isolated": lambda value: " ".join(
            f"{name}:{'-' if on is None else 'yes' if on else 'no'}" for name, on in value.items()
        ),
        "exercises": lambda marks: "; ".join(f"{mark['exercise']} {mark['state']}" for mark in marks),
        "notes": "; ".join,
    }
    stream = io.StringIO()
    writer = csv.writer(stream)
    writer.writerow(_COLUMNS)
    for row in rows:
        texts = [show.get(name, str)(row[name]) for name in _COLUMNS]
        clean = ["".join(c if c.isprintable() else " " for c in text) for text in texts]
        writer.writerow([f"'{text}" if text[:1] in ("=", "+", "-", "@") else text for text in clean])
    return stream.getvalue()
