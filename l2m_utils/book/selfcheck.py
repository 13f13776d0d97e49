"""Questions that a reader answers for themselves: the directive ``{selfcheck}``, an extension of Sphinx.

It is written so::

    :::{selfcheck} Which of the two curves cannot be a mutual information?
    :label: sc-chapter-1

    - [ ] The upper one
      : What is wrong with this choice.
    - [x] The one that falls
      : Why this one is right.
    :::

The page holds plain HTML, radio buttons in a fieldset and all feedback in a fold, which reads without a script and in print; ``selfcheck.js``
adds the button that shows the feedback on the choice that was made.  Question, choices and feedback are one paragraph each and may hold formulas and
references; text between the options and the first choice belongs to the question and may be longer.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import ClassVar

from docutils import nodes
from docutils.parsers.rst import directives
from sphinx.util import logging
from sphinx.util.docutils import SphinxDirective

from l2m_utils.book import page_assets

_CHOICE = re.compile(r"- \[([ xX])\] +(\S.*)")
_FEEDBACK = re.compile(r"\s+: +(\S.*)")
_BLOCK = re.compile(
    r"^(?P<fence>:{3,}|`{3,})\{selfcheck\} *(?P<title>.*)\n(?P<body>(?:.*\n)*?)(?P=fence) *$", re.MULTILINE
)
_OPTION = re.compile(r"^:(\w+): *(.*)$")
_LETTERS = "ABCDEFGH"
_WORDS = {True: "Right.", False: "Not this one."}


class SelfCheckError(ValueError):
    """A question that cannot be asked as it is written; its text says what was found and what is expected."""


@dataclass(frozen=True)
class QuizChoice:
    """One answer that can be chosen: its ``text``, whether it is ``right``, and the ``feedback`` on it, all Markdown."""

    text: str
    right: bool
    feedback: str


@dataclass(frozen=True)
class Question:
    """A question with its ``choices``; ``more`` is what stands between the question and the first choice."""

    text: str
    more: tuple[str, ...]
    choices: tuple[QuizChoice, ...]


def parse_question(title: str, lines: list[str]) -> Question:
    """The question whose first line is ``title`` and whose body, without options, is ``lines``.

    Raises :class:`SelfCheckError` for no question, too few or too many choices, a choice without feedback or with two, and unless exactly one is right.

    >>> asked = parse_question("Which?", ["- [ ] One", "  : No: it is", "    less.", "- [x] Two", "  : Yes."])
    >>> [(choice.text, choice.right, choice.feedback) for choice in asked.choices]
    [('One', False, 'No: it is less.'), ('Two', True, 'Yes.')]
    """
    more: list[str] = []
    found: list[dict] = []
    for line in lines:
        if start := _CHOICE.match(line):
            found.append({"right": start[1] != " ", "text": [start[2]], "feedback": []})
        elif not found:
            more.append(line)
        elif said := _FEEDBACK.match(line):
            if found[-1]["feedback"]:
                raise SelfCheckError(f"choice {found[-1]['text'][0]!r} has two lines of feedback: one is expected")
            found[-1]["feedback"].append(said[1])
        elif line.strip():
            if not line[0].isspace():
                raise SelfCheckError(f"{line.strip()!r} is no choice: expected '- [ ] text', then '  : feedback'")
            found[-1]["feedback" if found[-1]["feedback"] else "text"].append(line.strip())
    choices = tuple(QuizChoice(" ".join(one["text"]), one["right"], " ".join(one["feedback"])) for one in found)
    if not title.strip():
        raise SelfCheckError("no question: expected it on the first line, behind {selfcheck}")
    if not 2 <= len(choices) <= len(_LETTERS):
        raise SelfCheckError(f"{len(choices)} choice(s): expected 2 to {len(_LETTERS)} lines '- [ ] text'")
    for choice in choices:
        if not choice.feedback:
            raise SelfCheckError(f"choice {choice.text!r} has no feedback: expected '  : feedback' below it")
    if (right := sum(choice.right for choice in choices)) != 1:
        raise SelfCheckError(f"{right} right choices: expected exactly one '- [x]'")
    return Question(title.strip(), tuple(more), choices)


def questions_in(text: str) -> list[tuple[str, Question]]:
    """All questions in a Markdown text, with their labels; raises :class:`SelfCheckError`, also for a question without a label.

    >>> questions_in(":::{selfcheck} Which?\\n:label: sc-1\\n\\n- [ ] One\\n  : No.\\n- [x] Two\\n  : Yes.\\n:::\\n")[0][0]
    'sc-1'
    """
    return [_of_block(block) for block in _BLOCK.finditer(text)]


def _of_block(block: re.Match) -> tuple[str, Question]:
    lines = block["body"].splitlines()
    options = {}
    while lines and (option := _OPTION.match(lines[0])):
        options[option[1]] = option[2]
        lines.pop(0)
    if not options.get("label"):
        raise SelfCheckError(f"{block['title']!r} has no label: expected ':label: sc-chapter-1' below the question")
    return options["label"], parse_question(block["title"], lines)


def _lettered(question: Question):
    return zip(_LETTERS, question.choices, strict=False)


class selfcheck(nodes.General, nodes.Element):
    """The whole question: ``selfcheck_question``, further text, a ``selfcheck_choice`` and later a ``selfcheck_feedback`` a choice."""


class selfcheck_question(nodes.General, nodes.TextElement):
    """The line that asks."""


class selfcheck_choice(nodes.General, nodes.TextElement):
    """A choice, with its ``letter``."""


class selfcheck_feedback(nodes.General, nodes.TextElement):
    """The feedback on a choice, with its ``letter`` and whether the choice is ``right``."""


class SelfCheck(SphinxDirective):
    """The directive; what cannot be asked is a warning that names the cell, and so ends the build."""

    required_arguments = 0
    optional_arguments = 1
    final_argument_whitespace = True
    has_content = True
    option_spec: ClassVar = {"label": directives.unchanged}

    def run(self) -> list[nodes.Node]:
        """The nodes of the question."""
        label = self.options.get("label", "").strip()
        try:
            question = parse_question(" ".join(self.arguments), list(self.content))
            if nodes.make_id(label) != label or not label:
                raise SelfCheckError(f"label {label!r}: expected ':label: sc-chapter-1', small letters and hyphens")
            if (elsewhere := _labels(self.env).setdefault(label, self.env.docname)) != self.env.docname:
                raise SelfCheckError(f"the label stands in {elsewhere}, too: expected a label of its own")
            if label in self.state.document.ids:
                raise SelfCheckError("the label stands twice on this page: expected a label of its own")
        except SelfCheckError as error:
            cell, line = divmod(self.lineno, 10_000)  # how myst-nb counts the lines of a notebook
            place = f"cell {cell}" if cell else f"line {line}"
            _LOG.warning("%s: self-check %s: %s", place, label or "without a label", error, location=self.env.docname)
            return []
        page_assets.use(self.env, "selfcheck.js", "selfcheck.css")
        node = selfcheck(ids=[label], names=[])
        self.state.document.ids[label] = node
        self.set_source_info(node)
        node += selfcheck_question("", "", *self._inline(question.text))
        if "".join(question.more).strip():
            more = nodes.container(classes=["l2m-selfcheck-more"])
            self.state.nested_parse(self.content[: len(question.more)], self.content_offset, more)
            node += more
        for letter, choice in _lettered(question):
            node += selfcheck_choice("", "", *self._inline(choice.text), letter=letter)
        for letter, choice in _lettered(question):
            node += selfcheck_feedback("", "", *self._inline(choice.feedback), letter=letter, right=choice.right)
        return [node]

    def _inline(self, text: str) -> list[nodes.Node]:
        found, messages = self.state.inline_text(text, self.lineno)
        return [*found, *messages]


_LOG = logging.getLogger(__name__)


def _labels(env) -> dict[str, str]:
    if not hasattr(env, "l2m_selfchecks"):
        env.l2m_selfchecks = {}
    return env.l2m_selfchecks


def _purge(app, env, docname: str) -> None:
    for label in [label for label, page in _labels(env).items() if page == docname]:
        del _labels(env)[label]


def _merge(app, env, docnames, other) -> None:
    for label, page in _labels(other).items():
        if (elsewhere := _labels(env).setdefault(label, page)) != page:
            _LOG.warning("self-check %s: the label stands in %s, too", label, elsewhere, location=page)


def _visit_selfcheck(self, node) -> None:
    self.body.append(f'<div class="l2m-selfcheck" id="{node["ids"][0]}"><fieldset>\n')


def _depart_selfcheck(self, node) -> None:
    self.body.append("</ol></details>\n</div>\n")


def _visit_question(self, node) -> None:
    self.body.append('<legend><span class="l2m-selfcheck-word">Check yourself</span> ')


def _depart_question(self, node) -> None:
    self.body.append("</legend>\n")


def _visit_choice(self, node) -> None:
    name, letter = node.parent["ids"][0], node["letter"]
    identity = f"{name}-{letter.lower()}"
    self.body.append(
        f'<div class="l2m-selfcheck-choice"><input type="radio" name="{name}" id="{identity}" value="{letter}">'
        f'<label for="{identity}"><span class="l2m-selfcheck-letter">{letter}</span><span>'
    )


def _depart_choice(self, node) -> None:
    self.body.append("</span></label></div>\n")


def _visit_feedback(self, node) -> None:
    if node["letter"] == "A":
        self.body.append('</fieldset>\n<details><summary>Feedback on each choice</summary><ol type="A">\n')
    right = ' class="l2m-selfcheck-right"' if node["right"] else ""
    self.body.append(f'<li value="{ord(node["letter"]) - 64}"{right}><strong>{_WORDS[node["right"]]}</strong> ')


def _depart_feedback(self, node) -> None:
    self.body.append("</li>\n")


def setup(app) -> dict[str, bool]:
    """Register the directive with Sphinx."""
    app.setup_extension("l2m_utils.book.page_assets")
    app.add_node(selfcheck, html=(_visit_selfcheck, _depart_selfcheck))
    app.add_node(selfcheck_question, html=(_visit_question, _depart_question))
    app.add_node(selfcheck_choice, html=(_visit_choice, _depart_choice))
    app.add_node(selfcheck_feedback, html=(_visit_feedback, _depart_feedback))
    app.add_directive("selfcheck", SelfCheck)
    app.connect("env-purge-doc", _purge)
    app.connect("env-merge-info", _merge)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
