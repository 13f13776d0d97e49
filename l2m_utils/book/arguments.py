"""What a person typed, checked before anything is done with it, and what to do about a file that cannot be written."""

from __future__ import annotations

import errno
import shlex
import unicodedata

from l2m_utils.book.errors import BuildError


def check_plain(what: str, name: str) -> None:
    """Refuse what neither a log nor a page could show in one line: raises :class:`BuildError`."""
    if any(unicodedata.category(character) in ("Cc", "Cs", "Zl", "Zp") for character in name):
        raise BuildError(f"{what}: {name!r} has a line break, or a character that cannot be shown; rename it")


def positive_number(text: str) -> int:
    """How many jobs; raises :class:`BuildError` for what is no number of at least 1.

    >>> positive_number("2")
    2
    """
    if not text.isdecimal() or int(text) < 1:
        raise BuildError(f"JOBS or --jobs: got {text!r}, expected a whole number of at least 1")
    return int(text)


def split_words(text: str) -> list[str]:
    """The words of an option, as a shell splits them; raises :class:`BuildError` for a quote that is not closed.

    >>> split_words("--profile 'my profile'")
    ['--profile', 'my profile']
    """
    try:
        return shlex.split(text)
    except ValueError as error:
        raise BuildError(f"ENGINE or --engine: {text!r}: {error}") from error


def with_advice(error: OSError) -> str:
    """The error of a file in one line, and what to do about it where its message does not say so itself."""
    if not isinstance(error.filename, str):
        return str(error)
    advice = {
        errno.EROFS: "a build writes below the project: copy it to where you may write",
        errno.EACCES: "a build writes below the project: check the permissions",
        errno.ENOSPC: "free some space, and run this again",
        errno.EDQUOT: "free some space, and run this again",
    }.get(error.errno or 0)
    return f"{error.filename}: {error.strerror}" + (f"; {advice}" if advice else "")
