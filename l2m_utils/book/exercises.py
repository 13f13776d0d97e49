"""The exercises of a notebook that are answered in code: which cells belong to one, and what is wrong with them.

A cell tagged ``solution`` holds the stub, the line :data:`ANSWER` and the answer; ``check`` cells after it assert, ``wrong`` cells after those hold
typical wrong answers that the check must refuse, and an ``expected`` cell draws with the answer.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from l2m_utils.book.errors import BuildError

ANSWER = "# --- answer below ---"
_LABEL = re.compile(r"^[:`]{3,}\{exercise\}[^\n]*\n(?::[^\n]*\n)*?:label: *(\S+)", re.M)
_KINDS = ("solution", "check", "wrong", "expected", "seal")


@dataclass(frozen=True)
class Wrong:
    """A typical wrong answer: what is wrong with it, a fragment that the message of the check must contain, and the answer."""

    what: str
    says: str
    source: str
    cell: int


@dataclass(frozen=True)
class Exercise:
    """One exercise with a code answer; numbers are places in the list of cells."""

    label: str
    solution: int
    checks: tuple[int, ...]
    wrong: tuple[Wrong, ...]
    expected: tuple[int, ...] = ()
    seal: int | None = None


def cell_tags(cell: Any) -> list[str]:
    """The tags of a cell."""
    return cell["metadata"].get("tags", [])


def text_of(cell: Any) -> str:
    """The source of a cell as one text; notebook files may hold it as a list of lines."""
    source = cell["source"]
    return source if isinstance(source, str) else "".join(source)


def without_wrong(cells: list) -> list:
    """The cells that run and are shown: wrong answers are for the tests alone."""
    return [cell for cell in cells if "wrong" not in cell_tags(cell)]


def exercise_labels(text: str) -> list[str]:
    """The labels of the exercises in a text, in their order.

    >>> exercise_labels(":::{exercise} One (core)\\n:class: x\\n:label: ex-one\\n\\nWhy?\\n:::")
    ['ex-one']
    """
    return _LABEL.findall(text)


def stub_of(source: str, where: str = "the cell") -> str:
    """What a student gets of a solution: all above the line :data:`ANSWER`, and a line that raises ``NotImplementedError``.

    Raises :class:`BuildError` when there is not exactly one such line.

    >>> print(stub_of("def f(x):\\n    # --- answer below ---\\n    return x"))
    def f(x):
        raise NotImplementedError("write your answer here, in place of this line")
    """
    found = [line for line in source.splitlines() if line.strip() == ANSWER]
    if len(found) != 1:
        raise BuildError(f"{where} (solution): got {len(found)} lines `{ANSWER}`, expected one that ends the stub")
    indent = found[0][: len(found[0]) - len(found[0].lstrip())]
    above = source[: source.index(found[0])]
    return f'{above}{indent}raise NotImplementedError("write your answer here, in place of this line")'


def coded_exercises(cells: list, where: str, *, shown: bool = False) -> list[Exercise]:
    """The exercises with a code answer, in their order; ``where`` is the file for messages.

    With ``shown`` the cells are those of an executed page, which has no wrong answers.  Raises :class:`BuildError`, in one line that names
    file and cell, for an answer without label, stub or check, a check without answer or wrong answers, and a wrong answer that does not say what is wrong.
    """
    found: list[Exercise] = []
    label = ""
    for number, cell in enumerate(cells):
        here = f"{where}, cell {number + 1}"
        if cell["cell_type"] == "markdown":
            label = ([label] + exercise_labels(text_of(cell)))[-1]
            continue
        kinds = [tag for tag in cell_tags(cell) if tag in _KINDS]
        if cell["cell_type"] != "code" or not kinds:
            continue
        if len(kinds) > 1:
            raise BuildError(f"{here}: tagged {' and '.join(kinds)}, expected one of them")
        if kinds == ["solution"]:
            if not label or any(old.label == label for old in found):
                raise BuildError(f"{here} (solution): no exercise of its own with a :label: stands before it")
            stub_of(text_of(cell), here)
            found.append(Exercise(label, number, (), ()))
            continue
        if not found:
            raise BuildError(f"{here} ({kinds[0]}): no cell tagged `solution` stands before it")
        found[-1] = _with(found[-1], kinds[0], number, text_of(cell), here)
    for exercise in found:
        here = f"{where}, cell {exercise.solution + 1} ({exercise.label})"
        if not exercise.checks:
            raise BuildError(f"{here}: a code answer without a cell tagged `check` after it")
        if not exercise.wrong and not shown:
            raise BuildError(
                f"{here}: a check without a wrong answer; add a cell tagged `wrong` after the check, first line `# wrong: what is wrong`"
            )
    return found


def _with(exercise: Exercise, kind: str, number: int, source: str, here: str) -> Exercise:
    checks, wrong, expected, seal = exercise.checks, exercise.wrong, exercise.expected, exercise.seal
    if kind == "check":
        checks += (number,)
    elif kind == "expected":
        expected += (number,)
    elif kind == "seal":
        seal = number
    else:
        lines = source.splitlines()
        what = re.fullmatch(r"# wrong: (.+)", lines[0]) if lines else None
        if not what or not checks:
            raise BuildError(f"{here} (wrong): expected after a check, with `# wrong: what is wrong` as its first line")
        says = re.fullmatch(r"# says: (.+)", lines[1]) if len(lines) > 1 else None
        answer = "\n".join(lines[2 if says else 1 :]).strip("\n")
        wrong += (Wrong(what[1].strip(), says[1].strip() if says else "", answer, number),)
    return Exercise(exercise.label, exercise.solution, checks, wrong, expected, seal)


@dataclass(frozen=True)
class Box:
    """A directive of a page: its name, argument, options and text, and the lines of the page that it takes (the last one excluded)."""

    name: str
    argument: str
    options: dict[str, str]
    text: str
    first: int
    last: int


def boxes(text: str) -> Iterator[Box]:
    """The outermost directives of a Markdown text, fenced by colons, backticks or tildes.

    >>> [(box.name, box.argument, box.text) for box in boxes(":::{solution} ex-1\\n:class: dropdown\\n\\nYes.\\n:::")]
    [('solution', 'ex-1', 'Yes.')]
    """
    lines = text.split("\n")
    number = 0
    while number < len(lines):
        opened = re.match(r"^(:{3,}|`{3,}|~{3,})(?:\{([\w:+-]+)\} *(.*))?", lines[number])
        if not opened:
            number += 1
            continue
        last = _end(lines, number, opened[1])
        if opened[2]:
            inside = lines[number + 1 : last - 1]
            options = {}
            if inside and inside[0].strip() == "---" and "---" in [line.strip() for line in inside[1:]]:
                stop = [line.strip() for line in inside[1:]].index("---") + 1
                options = dict(re.findall(r"^([\w-]+): *(.*)$", "\n".join(inside[1:stop]), re.M))
                inside = inside[stop + 1 :]
            while inside and (option := re.match(r"^:([\w-]+):(?: +(.*))?$", inside[0])):
                options[option[1]] = option[2] or ""
                inside = inside[1:]
            yield Box(opened[2], opened[3].strip(), options, "\n".join(inside).strip("\n"), number, last)
        number = last


def _end(lines: list[str], first: int, fence: str) -> int:
    """The line after the fence that closes the one opened at ``first``, as MyST has it: the next bare fence that is as long."""
    closes = re.compile(re.escape(fence[0]) + f"{{{len(fence)},}} *")
    rest = (number + 1 for number in range(first + 1, len(lines)) if closes.fullmatch(lines[number]))
    return next(rest, len(lines))
