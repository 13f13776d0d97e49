"""Grade a folder of submitted notebooks: a JSON file each, and one table grades.csv.

The checks come from this book, never from a submission; only the cells with answers are taken from there.  Each answer runs in a process of its own with
limits on time, memory, output and processes, on Linux without network and without any file that it does not need; grades.csv says whether that was so.
What this does not stop: an answer that changes the check from within its process (it replaces numpy.isclose, say).  Look at the cells of those who passed.
"""

from __future__ import annotations

import argparse
from pathlib import Path


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the options to ``parser``; :func:`run` takes what it parses."""
    parser.add_argument("folder", type=Path, help="the submissions: .ipynb files, in folders or not")
    parser.add_argument(
        "--source",
        default="",
        help="chapter section/name, or the file of an assignment (default: what each notebook says)",
    )
    parser.add_argument("--seed", default="0", help="the class seed of an assignment (default: 0)")
    parser.add_argument("--out", type=Path, help="where the grades go (default: FOLDER-grades)")
    parser.add_argument("--seconds", type=int, default=60, help="for an answer with its check (default: 60)")
    parser.add_argument("--memory", type=int, default=4096, help="MB for an answer with its check (default: 4096)")
    parser.add_argument("--jobs", type=int, default=1, help="submissions at once (default: 1)")


def run(options: argparse.Namespace) -> int:
    """Grade, print one line a submission, and where the table is."""
    from l2m_utils.book.errors import BuildError
    from l2m_utils.course.grading import grade_folder
    from l2m_utils.course.jail import Limits
    from l2m_utils.course.pack import seeded_tasks

    if min(options.seconds, options.memory, options.jobs) < 1:
        raise BuildError("--seconds, --memory and --jobs: expected whole numbers of at least 1")
    folder = options.folder.absolute()
    out = options.out or folder.with_name(f"{folder.name}-grades")
    limits = Limits(options.seconds, options.memory << 20)
    tasks = seeded_tasks(Path(options.source), options.seed) if options.source.endswith(".md") else ()
    rows = grade_folder(folder, out, source=options.source, tasks=tasks, limits=limits, jobs=options.jobs)
    for row in rows:
        print(f"{row['passed']} of {row['of']}  {ascii(row['file'])[1:-1]}  {'; '.join(row['notes'])}".rstrip())
    print(out / "grades.csv")
    return 0
