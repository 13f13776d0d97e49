"""The Markdown of a chapter for a notebook that is read outside of the book: boxes as quotations with a title, references as words, formulas as they are."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping

from l2m_utils.book.bibliography import read_works
from l2m_utils.book.errors import BuildError
from l2m_utils.book.exercises import Box, boxes
from l2m_utils.book.pools import why_lost

_ROLE = re.compile(r"\{([a-z:]+)\}`([^`]+)`")
_VALUE = re.compile(r"`[^`\n]*`|\{\{\s*(?P<name>[^{}\s]+)\s*\}\}")
_EQUATION = re.compile(r"\$\$[ \t]*\(([\w-]+)\)")
_TARGET = re.compile(r"^\(([\w-]+)\)=\n+#+ *(.+)$", re.M)
# Feedback on a choice, which names the right one; it ends where the next choice begins.
_FEEDBACK = re.compile(r"^\s+: .*(?:\n(?!- \[).*)*\n?", re.M)
_NUMBERED = ("definition", "example", "lemma", "proposition", "theorem", "corollary", "exercise")


def labels_of(texts: Iterable[str]) -> dict[str, str]:
    """How each label of a notebook is spoken of: equations, definitions, exercises and sections, counted through the notebook.

    >>> labels_of(["$$ x $$ (eq-a)", ":::{prf:theorem} T\\n:label: thm-b\\n:::"])
    {'eq-a': '(1)', 'thm-b': 'Theorem 1'}
    """
    found: dict[str, str] = {}
    counts: dict[str, int] = {}
    for text in texts:
        for label in _EQUATION.findall(text):
            counts["equation"] = counts.get("equation", 0) + 1
            found[label] = f"({counts['equation']})"
        found |= {label: f"“{title.strip()}”" for label, title in _TARGET.findall(text)}
        for box in boxes(text):
            kind = box.name.removeprefix("prf:")
            if kind in _NUMBERED:
                counts[kind] = counts.get(kind, 0) + 1
                if label := box.options.get("label"):
                    found[label] = f"{kind.capitalize()} {counts[kind]}"
    return found


def to_commonmark(text: str, labels: Mapping[str, str], values: Mapping[str, str]) -> str:
    """A Markdown cell without MyST; ``values`` replace ``{{ name }}``.  Raises :class:`BuildError` for a name that has none.

    >>> print(to_commonmark(":::{admonition} Our check\\n:class: check\\nSee {eq}`eq-a`.\\n:::", {"eq-a": "(1)"}, {}))
    > **Our check**
    >
    > See (1).
    """
    lines = text.split("\n")
    for box in sorted(boxes(text), key=lambda box: -box.first):
        lines[box.first : box.last] = _quoted(box, labels, values).split("\n")
    text = re.sub(r"^\([\w-]+\)=\n+", "", "\n".join(lines), flags=re.M)
    text = _EQUATION.sub(lambda match: rf"\tag{{{labels.get(match[1], match[1]).strip('()')}}} $$", text)

    def value(match: re.Match) -> str:
        if match["name"] is None:  # code, which may show the syntax without meaning it
            return match[0]
        if match["name"] not in values:
            raise BuildError(f"a page has {why_lost(match['name'], values)}")
        return values[match["name"]]

    text = _VALUE.sub(value, text)
    text = _ROLE.sub(lambda match: _role(match[1], match[2], labels), text)
    return re.sub(r"\[([^\]]+)\]\((?!https?:|#)[\w./-]+\)", r"*\1*", text)  # a link to another page of the book


def _quoted(box: Box, labels: Mapping[str, str], values: Mapping[str, str]) -> str:
    kind = box.name.removeprefix("prf:")
    if kind == "math":
        label = box.options.get("label", "")
        return "$$\n" + box.text + "\n$$" + (f" ({label})" if label else "")
    if kind == "widget":  # what a reader without scripts sees
        return to_commonmark(box.text, labels, values)
    title = box.argument
    if kind in _NUMBERED or kind in ("proof", "figure", "table", "selfcheck"):
        name = labels.get(box.options.get("label", ""), {"selfcheck": "Question"}.get(kind, kind.capitalize()))
        title = f"{name}. {title}" if kind == "selfcheck" else f"{name} ({title})" if title else name
    elif kind == "solution":
        title = f"Answer to {labels.get(title, 'the exercise')}"
    elif not title:
        title = kind.capitalize()
    if kind == "figure":
        title, body = "Figure", box.text
    elif kind == "selfcheck":
        body = re.sub(r"- \[[xX]\]", "- [ ]", _FEEDBACK.sub("", box.text)).rstrip()
    else:
        body = box.text
    inner = to_commonmark(body, labels, values)
    return "\n".join(
        f"> {line}".rstrip() for line in [f"**{to_commonmark(title, labels, values)}**", "", *inner.split("\n")]
    )


def _role(role: str, text: str, labels: Mapping[str, str]) -> str:
    shown = re.fullmatch(r"(.+?)\s*<(.+)>", text)
    if role == "math":
        return f"${text}$"
    if role.startswith("cite"):
        return "(" + "; ".join(_cited(key.strip()) for key in text.split(",")) + ")"
    if role in ("eq", "ref", "numref", "prf:ref", "doc"):
        label = shown[2] if shown else text
        return (
            shown[1] if shown and "%" not in shown[1] else labels.get(label, f"*{label.replace('-', ' ')}* of the book")
        )
    words = shown[1] if shown else text
    return words if role in ("term", "index", "abbr") else f"`{words}`"


def _cited(key: str) -> str:
    works = read_works()
    return works[key].name if key in works else key
