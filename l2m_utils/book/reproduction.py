"""The reproduction table: what the paper shows, joined with what our records say.

``book/reproduction.yml`` asks, with the criterion and the margin of every row (no result of ours is typed there); the records
answer, and :mod:`l2m_utils.book.criteria` gives the word.
"""

from __future__ import annotations

import json
import re
from collections.abc import Set
from pathlib import Path
from typing import Any, Literal

import yaml
from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from l2m_utils.book.criteria import RULES, STATES, WORDS, Evidence
from l2m_utils.book.errors import BuildError
from l2m_utils.book.plain import as_text, value_text
from l2m_utils.book.pools import Pools, Record, read_pools
from l2m_utils.files import write_atomically, write_json
from l2m_utils.project import PROJECT, RESULTS
from l2m_utils.records import format_value
from l2m_utils.tables import format_number

ASKED = PROJECT / "book" / "reproduction.yml"
ANSWERED = RESULTS / "reproduction.json"
README = PROJECT / "README.md"
BADGES = {"proved": "✓✓", "exact": "✓✓", "reproduced": "✓", "consistent": "≈", "differs": "≠", "undetermined": "?", "out of reach": "·", "drawn": "✎"}  # fmt: skip
_IN_README = re.compile(r"(<!-- reproduction -->\n).*?(<!-- end of reproduction -->)", re.DOTALL)


class Row(BaseModel):
    """One row of what is asked; the head of ``book/reproduction.yml`` says what the keys mean."""

    model_config = ConfigDict(extra="forbid")
    id: str
    title: str
    paper: str
    record: str
    criterion: str
    margin: float = Field(ge=0)
    because: str
    target: float = 0.0
    holds: Literal["documents", "seeds", "choices"] = "documents"
    least_seeds: int = 0
    evidence: dict[str, str] = {}
    limits: str = ""
    shares: list[str] = []
    corpora: list[str] = []
    ruler: str = ""  # the name of the model that measured, the first word of the records' field `model`: neither tier nor folder chooses between rulers
    page: str = ""
    shown_in: str = Field(
        default="", pattern="^(|(fig|tab)-[a-z0-9-]+)$"
    )  # label of the figure or table that shows the number
    kind: Literal["paper", "addition", "related"] = "paper"

    @model_validator(mode="after")
    def _known_rule(self) -> Row:
        if self.criterion not in RULES:
            raise ValueError(f"criterion {self.criterion!r}: expected one of {', '.join(RULES)}")
        if unread := set(self.evidence) - set(RULES[self.criterion][1]):
            raise ValueError(f"criterion {self.criterion!r} does not read {', '.join(sorted(unread))}")
        if self.least_seeds and "seeds" not in self.evidence:
            raise ValueError(
                f"least_seeds {self.least_seeds}: expected a record of the role `seeds` that says how many there are"
            )
        return self


def read_rows(path: Path = ASKED) -> list[Row]:
    """The rows of ``reproduction.yml``; raises :class:`BuildError` for a bad or doubled row."""
    try:
        rows = [Row.model_validate(row) for row in yaml.safe_load(path.read_text())]
    except (yaml.YAMLError, ValidationError, TypeError) as error:
        raise BuildError(f"{path.name}: {error}") from error
    doubled = {row.id for row in rows if sum(other.id == row.id for other in rows) > 1}
    if doubled:
        raise BuildError(f"{path.name}: id given twice: {', '.join(sorted(doubled))}")
    return rows


def evidence_of(row: Row, pools: Pools) -> Evidence:
    """The records that answer a row; those of its roles are of the corpus of the main one, and of the row's ruler."""
    main = pools.value(row.record, row.corpora, row.ruler)
    corpora = [main["corpus"]] if main else row.corpora
    roles: dict[str, Record | None] = {}
    for role, identifier in row.evidence.items():
        if role == "figure":
            found = pools.figure(identifier, corpora)
            roles[role] = found[0] if found else None
        else:
            roles[role] = pools.value(identifier, corpora, row.ruler)
    return Evidence(main, row.target, row.margin, row.holds, row.least_seeds, roles)


def state_of(row: Row, evidence: Evidence) -> str:
    """The word that the row's criterion gives to its evidence, one of :data:`~l2m_utils.book.criteria.STATES`."""
    return RULES[row.criterion][0](evidence)


def join(rows: list[Row], pools: Pools) -> list[dict[str, Any]]:
    """Rows with state, tier, our value, interval, data, model and provenance of the record that answers.

    ``interval`` is what was judged: the hull with that of the role ``choices`` where there is one; ``whole`` says whether it holds all choices and seeds.
    """
    answers = []
    for row in rows:
        evidence = evidence_of(row, pools)
        found = evidence.main
        interval = list(evidence.interval) if found and evidence.interval else None
        roles = {
            name: {"record": row.evidence[name], "value": record.get("value"), "interval": record.get("interval")} if record else None
            for name, record in evidence.roles.items()
        }  # fmt: skip
        answers.append(
            {
                **row.model_dump(exclude={"evidence", "corpora", "ruler", "holds", "least_seeds"}),
                "state": state_of(row, evidence),
                "ours": found["value"] if found else None,
                "shown": format_value({**found, "interval": interval}) if found else "",
                "interval": interval,
                "whole": evidence.whole if interval else None,
                "evidence": roles,
                "tier": found["tier"] if found else None,
                "data": found["corpus"] if found else None,
                "model": found["model"] if found else None,
                "seed": found["seed"] if found else None,
                "commit": found["commit"] if found else None,
                "hardware": found["hardware"] if found else None,
            }
        )
    return answers


def write_published(results: Path = RESULTS, readme: Path = README) -> Path:
    """Renew ``results/reproduction.json`` from the published records alone, so that it never depends on a build, and the counts in the README."""
    answers = join(read_rows(), read_pools(results=results))
    if results == RESULTS and readme.exists():
        write_atomically(readme, with_counts(readme.read_text(), answers).encode())
    return write_json(results / "reproduction.json", answers)


def with_counts(text: str, answers: list[dict[str, Any]]) -> str:
    """The README with its counts and limits renewed; raises :class:`BuildError` when its marks are gone."""
    if not _IN_README.search(text):
        raise BuildError("README.md: expected the marks <!-- reproduction --> and <!-- end of reproduction -->")
    news = f"Of the figures, tables and theorems of the paper: {count_text(answers)}. What limits each that differs:\n\n{limits_text(answers)}\n"
    return _IN_README.sub(lambda match: f"{match[1]}{news}{match[2]}", text)


def asked_text(row: dict[str, Any]) -> str:
    """What a row asks of our value, for people.

    >>> asked_text({"criterion": "near", "target": 0.76, "margin": 0.1}), asked_text({"criterion": "below", "target": 0.0, "margin": 0.0})
    ('0.76 ± 0.1', '< 0')
    """
    target, margin = row["target"], row["margin"]
    around = f"{format_number(target)} ± {format_number(margin)}"
    return {
        "near": around,
        "equals": around,
        "drawn": f"a drawing; {around}",
        "above": f"> {format_number(target + margin)}",
        "below": f"< {format_number(target - margin)}",
        "exceeds": f"≥ {format_number(target + margin)}",
        "apart": f"farther than {format_number(margin)} from {format_number(target)}",
        "falls-while-rising": f"< {format_number(-margin)} while the KL rises",
        "proved": "a proof and its check",
        "agrees": "equality",
        "specified": f"{format_number(target)}, specified",
        "crosses": f"a crossing within {format_number(int(target))} tokens",
    }[row["criterion"]]


def ours_text(row: dict[str, Any]) -> str:
    """Our value of a row with its interval, as MyST.

    >>> ours_text({"ours": -0.5, "shown": "-0.5 [-0.6, -0.4]"}), ours_text({"ours": None, "shown": ""})
    ('−0.5 [−0.6, −0.4]', 'no record')
    """
    return value_text(row["ours"], row["shown"]) or "no record"


def reproduction_table(answers: list[dict[str, Any]], labels: Set[str] = frozenset()) -> str:
    """The table as MyST, one row a line; page names become links, and so does the figure that shows the number, if it is among the ``labels`` of the book."""
    lines = [
        "| row | what | paper | asked | ours, whole interval | data, model | tier | state |",
        "| --- | --- | --- | --- | --- | --- | --- | --- |",
    ]
    for row in answers:
        title = f"[{row['title']}]({row['page']})" if row["page"] else row["title"]
        title += f" ({{numref}}`{row['shown_in']}`)" if row["shown_in"] in labels else ""
        data = ", ".join(as_text(part) for part in (row["data"] if row["data"] != "none" else "", row["model"]) if part)
        limits = f" *{row['limits']}*" if row["limits"] else ""
        shares = f" Same run as {', '.join(row['shares'])}." if row["shares"] else ""
        lines.append(
            f"| {row['id']} | {title}.{limits}{shares} | {row['paper']} | {asked_text(row)} | {ours_text(row)} | {data} | {row['tier'] or ''} | {BADGES[row['state']]} {row['state']} |"
        )
    return "\n".join(lines)


def criteria_table(answers: list[dict[str, Any]]) -> str:
    """Rule and reason of every row, as MyST."""
    lines = ["| row | rule | asked | because |", "| --- | --- | --- | --- |"]
    lines += [f"| {row['id']} | {row['criterion']} | {asked_text(row)} | {row['because']} |" for row in answers]
    return "\n".join(lines)


def words_table() -> str:
    """What each state means, as MyST."""
    return "\n".join(["| word | says that |", "| --- | --- |", *(f"| {BADGES[w]} **{w}** | {says} |" for w, says in WORDS.items())])  # fmt: skip


def counts(answers: list[dict[str, Any]], kind: str = "paper") -> dict[str, int]:
    """How many rows of a kind are in each state.

    >>> counts([{"state": "differs", "kind": "paper"}, {"state": "drawn", "kind": "addition"}])["differs"]
    1
    """
    return {state: sum(row["state"] == state and row["kind"] == kind for row in answers) for state in STATES}


def count_text(answers: list[dict[str, Any]], kind: str = "paper") -> str:
    """The states that occur, with their numbers.

    >>> count_text([{"state": "differs", "kind": "paper"}, {"state": "proved", "kind": "paper"}])
    '1 proved, 1 differs'
    """
    return ", ".join(f"{number} {state}" for state, number in counts(answers, kind).items() if number)


def limits_text(answers: list[dict[str, Any]], kind: str = "paper") -> str:
    """A line for every row that differs: what limits it.

    >>> limits_text([{"id": "3c", "state": "differs", "kind": "paper", "limits": "Training ended early."}])
    '- **3c**: Training ended early.'
    """
    rows = [row for row in answers if row["kind"] == kind and row["state"] == "differs"]
    return "\n".join(f"- **{row['id']}**: {row['limits']}" for row in rows)


def table_texts(answers: list[dict[str, Any]]) -> dict[str, str]:
    """What pages and chapters may say of the table: ``reproduction__counts``, ``…__additions``, ``…__limits``, and of a row ``…__word__<id>`` and ``…__shown__<id>``."""
    words = {f"reproduction__word__{_key(row)}": row["state"] for row in answers}
    shown = {f"reproduction__shown__{_key(row)}": ours_text(row) for row in answers}
    return {
        **words,
        **shown,
        "reproduction__counts": count_text(answers),
        "reproduction__additions": count_text(answers, "addition"),
        "reproduction__limits": limits_text(answers),
    }


def _key(row: dict[str, Any]) -> str:
    return re.sub(r"\W", "_", row["id"])


def print_reproduction(path: Path = ANSWERED) -> None:
    """Print the committed table: state, tier, row, ours, what was asked and the paper's value."""
    if not path.exists():
        raise BuildError(f"{path} is missing: run `make book` and `make publish`")
    answers = json.loads(path.read_text())
    for row in answers:
        print(
            f"{row['state']:<12} {row['tier'] or '-':<8} {row['id']:<24} {row['shown'] or '-':<26} asked: {asked_text(row):<36} paper: {row['paper']}"
        )
    for kind in ("paper", "addition", "related"):
        print(f"{kind}: " + ", ".join(f"{number} {state}" for state, number in counts(answers, kind).items()))
