"""The course: its slides, and whether its sessions fit the book.

l2m course slides                 a page of reveal.js a deck, from the records of a build and the published ones
l2m course slides --pdf           and a PDF beside each, printed by Chromium
l2m course site                   slides, all editions, PDF and the teacher's zip of a built book, with time and size of each
l2m course sessions               check course/sessions.yml and print the sessions
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Which part of the course."""
    from l2m_utils.book.commands import add_which

    parts = parser.add_subparsers(required=True, metavar="PART")
    added = parts.add_parser("slides", help="write _build/<build>/slides")
    added.set_defaults(part=slides)
    add_which(added)
    added.add_argument("--reveal", type=Path, help="archive of reveal.js (default: from .cache/npm, else from npm)")
    added.add_argument("--pdf", action="store_true", help="print every deck to a PDF as well; needs Chromium")
    added = parts.add_parser("site", help="slides, all editions, PDF and the teacher's zip of a built book")
    added.set_defaults(part=site)
    add_which(added)
    added = parts.add_parser("sessions", help="check the sessions and print them")
    added.set_defaults(part=sessions)


def run(options: argparse.Namespace) -> int:
    """Run the chosen part; what the author of the course can mend is a line a fault, and exit status 1."""
    from l2m_utils.book.errors import BuildError

    try:
        options.part(options)
    except BuildError as error:
        print("\n".join(f"error: {line}" for line in str(error).splitlines()), file=sys.stderr)
        return 1
    return 0


def slides(options: argparse.Namespace) -> None:
    """Write the slides of a build, and their PDFs if asked for."""
    from l2m_utils.book.commands import place_and_folder
    from l2m_utils.book.jobs import read_jobs
    from l2m_utils.course.material import make_slides

    _, folder = place_and_folder(options)
    read_jobs(folder)  # some figures are only in a build: without one, say so and not which figure is missing
    pages = make_slides(folder, options.reveal)
    if options.pdf:
        from l2m_utils.course.printing import print_decks

        pages += print_decks(pages)
    for page in pages:
        print(page)


def site(options: argparse.Namespace) -> None:
    """Make everything that readers, students and teachers get from a built book; print a line a step."""
    from l2m_utils.book.commands import place_and_folder
    from l2m_utils.course.whole import make_whole, steps

    _, folder = place_and_folder(options)
    for line in make_whole(steps(folder, options.tier, options.corpus)):
        print(line, flush=True)


def sessions(options: argparse.Namespace) -> None:
    """Check the sessions against chapters, exercises, decks and assignments; print a line each."""
    from l2m_utils.book.chapters import read_chapters
    from l2m_utils.book.sessions import read_course

    course = read_course(read_chapters())
    for number, session in enumerate(course.sessions, 1):
        print(f"{number:>2}  {session.minutes:>3} min  {session.title:<44} {', '.join(session.reading)}")
    for session in course.seminars:
        print(f"    {session.minutes:>3} min  {session.title:<44} {', '.join(session.reading)}")
