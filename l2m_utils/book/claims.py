"""The page of claims: what the paper says, what our records answer, what we think of it, and what would change our mind.

``book/claims.yml`` holds the sentences and names the rows of the reproduction; numbers, intervals and words come from those rows.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import yaml
from pydantic import BaseModel, ConfigDict, Field, ValidationError

from l2m_utils.book.criteria import STATES
from l2m_utils.book.errors import BuildError
from l2m_utils.book.exhibits import label_of
from l2m_utils.book.plain import captioned
from l2m_utils.book.reproduction import BADGES, ours_text
from l2m_utils.project import PROJECT

CLAIMS = PROJECT / "book" / "claims.yml"
_OUTDATED = (
    "This sentence was written when {what}; the records of this build say otherwise in the table above, and they count."
)


class Claim(BaseModel):
    """A claim of the paper, or with an empty ``claim`` an addition of ours; ``written_for`` are its rows, with the words that they had."""

    model_config = ConfigDict(extra="forbid")
    name: str = Field(pattern="^[a-z-]+$")
    title: str
    claim: str
    think: str = Field(min_length=1)
    change: str = Field(min_length=1)
    figures: list[str] = Field(min_length=1)
    written_for: dict[str, str] = Field(min_length=1)


def read_claims(path: Path = CLAIMS) -> list[Claim]:
    """The claims; raises :class:`BuildError` for one that lacks a sentence, a figure or a row, or that knows a word which is none."""
    try:
        claims = [Claim.model_validate(claim) for claim in yaml.safe_load(path.read_text(encoding="utf-8"))]
    except (yaml.YAMLError, ValidationError, TypeError) as error:
        raise BuildError(f"{path.name}: {error}") from error
    for claim in claims:
        if unknown := set(claim.written_for.values()) - set(STATES):
            raise BuildError(
                f"{path.name}, claim {claim.name}: got the word {', '.join(sorted(unknown))}; expected one of {', '.join(STATES)}"
            )
    return claims


def outdated(claims: list[Claim], answers: list[dict[str, Any]]) -> dict[str, list[str]]:
    """For each claim the rows whose word is no longer the one that its sentence was written for.

    Raises :class:`BuildError` when a row of the paper or of the additions stands under no claim, or under two, or a claim names none that exists.

    >>> claim = Claim(name="a", title="A", claim="", think="T.", change="C.", figures=["x/y:z"], written_for={"1": "drawn"})
    >>> outdated([claim], [{"id": "1", "kind": "paper", "state": "differs"}])
    {'a': ['row 1 was *drawn*']}
    """
    states = {row["id"]: row["state"] for row in answers if row["kind"] in ("paper", "addition")}
    named = [row for claim in claims for row in claim.written_for]
    if wrong := sorted({row for row in named if row not in states or named.count(row) > 1} | (states.keys() - named)):
        raise BuildError(
            f"claims.yml: each row of the paper and of the additions stands under exactly one claim; not so {', '.join(wrong)}"
        )
    return {
        claim.name: [
            f"row {row} was *{word}*" for row, word in claim.written_for.items() if states[row] != word
        ]
        for claim in claims
    }  # fmt: skip


def claims_text(claims: list[Claim], answers: list[dict[str, Any]], labels: set[str]) -> str:
    """The sections of the page, as MyST; ``labels`` are those of the figures that the book has numbered."""
    old, rows = outdated(claims, answers), {row["id"]: row for row in answers}
    parts = []
    for heading, ours in (("What the paper claims", False), ("What this book adds", True)):
        parts.append(f"## {heading}\n")
        for claim in claims:
            if (claim.claim == "") == ours:
                parts.append(_section(claim, rows, old[claim.name], labels))
    return "\n".join(parts)


def _section(claim: Claim, rows: dict[str, dict[str, Any]], old: list[str], labels: set[str]) -> str:
    lines = [f"(claim-{claim.name})=", f"### {claim.title}", ""]
    if claim.claim:
        lines += [":::{admonition} The paper", ":class: paper", claim.claim, ":::", ""]
    table = ["| row | what | paper | ours | word |", "| --- | --- | --- | --- | --- |"]
    for identifier in claim.written_for:
        row = rows[identifier]
        title = f"[{row['title']}]({row['page']})" if row["page"] else row["title"]
        table.append(
            f"| {identifier} | {title} | {row['paper']} | {ours_text(row)} | {BADGES[row['state']]} {row['state']} |"
        )
    lines.append(captioned(f"Our evidence: {claim.title[0].lower()}{claim.title[1:]}", "\n".join(table)))
    shown = ", ".join(figure_link(figure, labels) for figure in claim.figures)
    kind = "check" if claim.claim else "addition"
    lines += ["", f"See {shown}.", "", ":::{admonition} What we think", f":class: {kind}", claim.think]
    if old:
        lines += ["", _OUTDATED.format(what=", ".join(old))]
    return "\n".join([*lines, "", f"*What would change our mind.* {claim.change}", ":::", ""])


def figure_link(figure: str, labels: set[str]) -> str:
    """A reference to the figure of a record, by its number where the book has one, else to its page.

    >>> figure_link("estimation/ruler:curves", {"fig-ruler-curves"}), figure_link("estimation/ruler:curves", set())
    ('{numref}`fig-ruler-curves`', '[the figure `curves`](notebooks/estimation/ruler)')
    """
    notebook, name = figure.split(":")
    label = label_of("figure", figure)
    return f"{{numref}}`{label}`" if label in labels else f"[the figure `{name}`](notebooks/{notebook})"
