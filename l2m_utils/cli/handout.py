"""Write the course as files: clean notebooks of an edition, the assignments of a class, or all that a teacher gets in one zip.

Clean notebooks have no outputs and run outside of a checkout: their first cell installs the library.  The assignments draw their numbers from the class seed;
keep it to yourself, and give every class another one.
"""

from __future__ import annotations

import argparse
from pathlib import Path


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the options to ``parser``; :func:`run` takes what it parses."""
    parser.add_argument("what", choices=("editions", "assignments", "instructor"), help="what to write")
    parser.add_argument(
        "--seed", default="0", help="the class seed, any word or number (default: 0, the published one)"
    )
    parser.add_argument(
        "--out", type=Path, help="a new folder; for instructor the zip file (default: below _build/course)"
    )
    parser.add_argument(
        "--build", type=Path, help="a build folder, whose values and pages are taken (default: published records)"
    )


def run(options: argparse.Namespace) -> int:
    """Write, and print where."""
    from l2m_utils.book.errors import BuildError
    from l2m_utils.course import pack
    from l2m_utils.project import CHECKOUT, PROJECT

    if not CHECKOUT:
        raise BuildError("the course is written from a checkout of the project, which holds the chapters")
    seed = options.seed
    if not seed.isprintable() or not seed.strip():
        raise BuildError(f"--seed: got {seed!r}, expected a word or number")
    home = PROJECT / "_build" / "course"
    if options.what == "instructor":
        name = "".join(character if character.isalnum() else "-" for character in seed)
        out = options.out or home / f"instructor-{name}.zip"
        print(pack.write_zip(out, pack.class_pack(seed, pack.page_values(options.build), options.build)))
    elif options.what == "assignments":
        files = {
            f"{edition}/{name}": content
            for edition in ("student", "instructor")
            for name, content in pack.assignments(seed, edition).items()
        }
        print(pack.write_files(options.out or home / "assignments", files))
    else:
        values, executed = pack.page_values(options.build), options.build / "executed" if options.build else None
        files = {
            f"{edition}/{name}": content
            for edition in ("student", "instructor")
            for name, content in pack.clean_notebooks(edition, values, executed).items()
        }
        print(pack.write_files(options.out or home / "editions", files))
    return 0
