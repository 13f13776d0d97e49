"""The boundary to other people's libraries: whatever they raise becomes one line that says what was done, with which file, and what they said.

A damaged or foreign file makes a library stumble wherever it happens to look: with an error of its own, a ``KeyError`` of
Python, or a list of all classes that it knows.  Only who called it knows which step and which file that was.
"""

from __future__ import annotations

import re
import traceback
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

_MOST = (
    240  # characters of what a library said: enough for a sentence, too few for the names of all models that it knows
)
_HOME = Path(__file__).resolve().parent
_PASSED_ON = (KeyboardInterrupt, SystemExit, GeneratorExit, MemoryError)


def cut(text: str, most: int = _MOST) -> str:
    """The first line of ``text`` that says anything (with the next, if it ends in a colon), without control characters, at most ``most`` characters long.

    >>> cut("\\n  no model in x:\\n  a list\\nTraceback …"), cut("expected one of " + 90 * "A, ", 24)
    ('no model in x: a list', 'expected one of A, A, A…')
    """
    said = ""
    for line in re.split(r"[\n\r\x85\u2028\u2029]", text[:10_000]):
        said = " ".join((said + " " + re.sub(r"[\x00-\x1f\x7f-\x9f\u202a-\u202e\u2066-\u2069]", " ", line)).split())
        if said and not said.endswith(":"):
            break
    return said if len(said) <= most else said[: most - 1].rstrip() + "…"


def first_line(error: BaseException) -> str:
    """The type of ``error`` and the first line of what it says.

    >>> first_line(KeyError("llama5")), first_line(AssertionError())
    ("KeyError: 'llama5'", 'AssertionError')
    """
    return f"{type(error).__name__}: {cut(str(error))}".removesuffix(": ")


def ours(error: BaseException) -> bool:
    """Whether the library itself worded ``error``: raised by a line of ours, or of a class of ours."""
    if type(error).__module__.partition(".")[0] == __name__.partition(".")[0]:
        return True
    return (where := _last_of_ours(error)) is not None and where[1]


def one_line(error: BaseException) -> str:
    """What a command prints of ``error``: our own words as they stand, those of others with the step in which they were said.

    >>> try:
    ...     int("x")
    ... except ValueError as error:
    ...     print(one_line(error))
    ValueError: invalid literal for int() with base 10: 'x'
    """
    if isinstance(error, MemoryError):
        return "out of memory: close other programs, or take a smaller model, shorter blocks or less text"
    if ours(error):
        return " ".join(str(error).split()) or type(error).__name__
    if isinstance(error, OSError) and error.strerror and error.filename:
        return f"{cut(str(error.filename))}: {cut(error.strerror)}"
    where = _last_of_ours(error)
    return (f"in the step {where[0]}: " if where else "") + first_line(error)


def _last_of_ours(error: BaseException) -> tuple[str, bool] | None:
    """The innermost function of this library that ``error`` came through, and whether it was raised there."""
    frames = traceback.extract_tb(error.__traceback__)
    inside = [number for number, frame in enumerate(frames) if _HOME in Path(frame.filename).parents]
    if not inside:
        return None
    frame = frames[inside[-1]]
    module = Path(frame.filename).relative_to(_HOME).with_suffix("")
    # A line that raises is ours; one that calls a function written in C is the last Python line too, and says no `raise`.
    raised = inside[-1] == len(frames) - 1 and (frame.line or "").lstrip().startswith(("raise ", "raise("))
    return f"{frame.name.strip('_<>')} ({module})", raised


@contextmanager
def boundary(doing: str, error: type[ValueError], advice: str = "") -> Iterator[None]:
    """Turn whatever another library raises inside into ``error``: ``doing``, the first line of what it said, ``advice``.

    Errors of our own classes, lack of memory and interruptions pass through.

    >>> with boundary("weights of tiny/model.safetensors cannot be read", ValueError, "fetch the file again"):
    ...     raise KeyError("lm_head")
    Traceback (most recent call last):
        ...
    ValueError: weights of tiny/model.safetensors cannot be read (KeyError: 'lm_head'); fetch the file again
    """
    try:
        yield
    except _PASSED_ON:
        raise
    except BaseException as found:  # a library written in Rust panics with an error that is no Exception
        if type(found).__module__.partition(".")[0] == __name__.partition(".")[0]:
            raise
        raise error(f"{doing} ({first_line(found)})" + (f"; {advice}" if advice else "")) from found
