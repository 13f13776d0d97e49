"""The sessions of the course, as ``course/sessions.yml`` has them, checked against chapters, exercises, decks and assignments."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import yaml
from pydantic import BaseModel, ConfigDict, Field, ValidationError

from l2m_utils.book.chapters import Chapter, read_chapters
from l2m_utils.book.errors import BuildError
from l2m_utils.book.exercises import exercise_labels
from l2m_utils.book.plain import captioned
from l2m_utils.book.source import NOTEBOOKS, notebook_paths
from l2m_utils.project import PROJECT

COURSE = PROJECT / "course"
GUIDE = COURSE / "guide.md"  # for instructors
_SLIDES = "The titles in the table open the slides of the session; [all decks](slides:index) are listed on a page of their own."
_NO_SLIDES = "This copy of the book was built without the slides; `make slides` makes them, a page a session."


class Session(BaseModel):
    """One session: a title, minutes in class, objectives, chapters to read, exercises by label, its deck and what is handed out."""

    model_config = ConfigDict(extra="forbid")
    title: str
    minutes: int = Field(gt=0)
    objectives: list[str] = Field(min_length=1)
    reading: list[str] = Field(min_length=1)
    exercises: list[str] = []
    deck: str = ""
    assignment: str = ""
    skip: str = ""


class Course(BaseModel):
    """``sessions``, one after the other, and ``seminars``, in any order."""

    model_config = ConfigDict(extra="forbid")
    sessions: list[Session]
    seminars: list[Session]

    def all(self) -> list[Session]:
        """Sessions, then seminars."""
        return [*self.sessions, *self.seminars]


def read_course(chapters: Mapping[str, Chapter], folder: Path = COURSE, notebooks: Path = NOTEBOOKS) -> Course:
    """The course in ``folder``; raises :class:`BuildError` for a session that names what does not exist, or reads a chapter too early."""
    where = f"{folder.name}/sessions.yml"
    try:
        course = Course.model_validate(yaml.safe_load((folder / "sessions.yml").read_text(encoding="utf-8")))
    except (OSError, yaml.YAMLError, ValidationError) as error:
        raise BuildError(f"{where}: {' '.join(str(error).split())}") from error
    known = exercises_of(notebooks)
    for number, session in enumerate(course.all(), 1):
        here = f"{where}, session {number} ({session.title})"
        _must_exist(here, "chapter", session.reading, chapters)
        _must_exist(here, "exercise", session.exercises, known)
        for kind, name in (("deck", session.deck), ("assignment", session.assignment)):
            path = folder / f"{kind}s" / f"{name}.md"
            if name and not path.is_file():
                raise BuildError(f"{here}: no {kind} {folder.name}/{kind}s/{name}.md")
        for label in session.exercises:
            if known[label] not in session.reading:
                raise BuildError(f"{here}: exercise {label} belongs to {known[label]}, which it does not read")
    _in_order(where, course.sessions, chapters)
    return course


def exercises_of(notebooks: Path = NOTEBOOKS) -> dict[str, str]:
    """The chapter of every exercise, by label.

    >>> exercises_of()["ex-bipartite-2"]
    'estimation/bipartite'
    """
    return {
        label: name
        for name, path in notebook_paths(notebooks).items()
        for label in exercise_labels(path.read_text(encoding="utf-8"))
    }


def _must_exist(where: str, kind: str, names: Sequence[str], known: Mapping[str, Any]) -> None:
    if unknown := [name for name in names if name not in known]:
        raise BuildError(f"{where}: no {kind} {', '.join(unknown)}")


def _in_order(where: str, sessions: Sequence[Session], chapters: Mapping[str, Chapter]) -> None:
    """No session reads a chapter before those that it requires."""
    read: set[str] = set()
    for number, session in enumerate(sessions, 1):
        read |= set(session.reading)
        for name in session.reading:
            if missing := sorted(set(chapters[name].requires) - read):
                raise BuildError(f"{where}, session {number}: {name} requires {', '.join(missing)}, not read by then")


def course_tables(slides: bool) -> dict[str, str]:
    """What the page for teachers shows of the course, by the name that stands on it between ``<<`` and ``>>``."""
    chapters = read_chapters()
    course = read_course(chapters)
    return {
        "SESSIONS": captioned(f"The {len(course.sessions)} sessions", sessions_table(course, chapters, slides)),
        "OBJECTIVES": objectives_list(course),
        "SEMINARS": captioned(f"The {len(course.seminars)} seminars", seminars_table(course, chapters)),
        "SLIDES": _SLIDES if slides else _NO_SLIDES,
    }


def sessions_table(course: Course, chapters: Mapping[str, Chapter], slides: bool) -> str:
    """The sessions as a table of MyST: number, title, minutes, reading, exercises, deck (a link if ``slides`` are built), assignment."""
    lines = [
        "| number | session | minutes | read before | exercises | hand out |",
        "| ---: | --- | ---: | --- | --- | --- |",
    ]
    for number, session in enumerate(course.sessions, 1):
        title = f"[{session.title}](slides:{session.deck})" if slides and session.deck else session.title
        reading = "; ".join(_link(chapters[name]) for name in session.reading)
        exercises = ", ".join(f"{{ref}}`{label}`" for label in session.exercises)
        lines.append(f"| {number} | {title} | {session.minutes} | {reading} | {exercises} | {session.assignment} |")
    return "\n".join(lines)


def objectives_list(course: Course) -> str:
    """What a student can do after each of the sessions, as a list of MyST; with what to skip where time is short."""
    lines = []
    for number, session in enumerate(course.sessions, 1):
        skip = f" *Short of time:* {session.skip}" if session.skip else ""
        lines.append(f"{number}. **{session.title}.** {' '.join(session.objectives)}{skip}")
    return "\n".join(lines)


def seminars_table(course: Course, chapters: Mapping[str, Chapter]) -> str:
    """The labs as seminar sessions, a table of MyST."""
    lines = ["| lab | minutes | what the session is about | exercises |", "| --- | ---: | --- | --- |"]
    for session in course.seminars:
        lab = "; ".join(_link(chapters[name]) for name in session.reading)
        exercises = ", ".join(f"{{ref}}`{label}`" for label in session.exercises)
        lines.append(f"| {lab} | {session.minutes} | {' '.join(session.objectives)} | {exercises} |")
    return "\n".join(lines)


def _link(chapter: Chapter) -> str:
    return f"[{chapter.title}](notebooks/{chapter.name}) ({chapter.minutes} min)"
