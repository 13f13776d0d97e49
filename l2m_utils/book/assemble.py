"""Put the Sphinx source together: prose, executed notebooks, figures, values and generated pages.

Only files whose content changed are written, so that Sphinx re-reads only those.
"""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import yaml

from l2m_utils.book import api, attacked, bibliography, claims, exhibits, reading_path, reproduction, sessions, status
from l2m_utils.book.editions import shown_in
from l2m_utils.book.errors import BuildError
from l2m_utils.book.material import kept_files, key_of_material
from l2m_utils.book.plain import as_text, captioned, value_text
from l2m_utils.book.pools import Pools, read_pools, rulers_of, why_lost
from l2m_utils.book.runnable import archive, clean_notebooks
from l2m_utils.book.widget_data import DATA_FILE, widget_file
from l2m_utils.files import write_atomically
from l2m_utils.project import PROJECT, RESULTS
from l2m_utils.records import format_value, load_values
from l2m_utils.release.licences import licence_tables, licence_texts, read_licences
from l2m_utils.rulers import ruler_name
from l2m_utils.tables import format_number
from l2m_utils.text.corpora import short_name

BOOK = PROJECT / "book"
LICENCES = BOOK / "licences.yml"
NOTEBOOKS_ZIP = Path("notebooks.zip")  # the clean notebooks of all chapters, with the tables that they read
_SUBSTITUTION = re.compile(r"\{\{\s*([^{}\s]+)\s*\}\}")
_SIGNS = re.compile(r"[\W_]+")
_FIGURE = re.compile(r"figures/[\w./-]+\.svg")


def substitution_key(identifier: str) -> str:
    """The substitution name of a record.

    >>> substitution_key("estimation/two-point:alpha-corrected")
    'estimation_two_point__alpha_corrected'
    """
    notebook, name = identifier.split(":")
    return f"{notebook.replace('/', '_')}__{name}".replace("-", "_")


def substitutions(pools: Pools) -> dict[str, str]:
    """All values as MyST substitutions: with interval, ``__value`` alone, ``__source``; ``__on__<corpus>`` for one corpus, ``__of__<ruler>`` behind it where several rulers measured.

    A name without ruler is left out where tiers of its corpus have records of different rulers: :func:`~l2m_utils.book.pools.why_lost` says so.
    """
    texts: dict[str, str] = {}

    def add(key: str, record: dict[str, Any]) -> None:
        value = record["value"]
        texts[key] = value_text(value, format_value(record))
        texts[f"{key}__value"] = value_text(value, format_number(value))
        source = f"tier {record['tier']}" + (f", {as_text(record['corpus'])}" if record["corpus"] != "none" else "")
        texts[f"{key}__source"] = source

    def add_best(key: str, records: list[dict[str, Any]], rulers: set[str]) -> None:
        if len(rulers_of(records, records[0]["corpus"])) < 2:
            add(key, records[0])
        for record in reversed(records):  # the best of each ruler is written last
            if (name := ruler_name(record["model"])) in rulers:
                add(f"{key}__of__{_SIGNS.sub('_', name).strip('_')}", record)

    for identifier, records in pools.values.items():
        key, rulers = substitution_key(identifier), {ruler_name(record["model"]) for record in records} - {""}
        named = rulers if len(rulers) > 1 else set()
        add_best(key, records, named)
        for corpus in reversed(dict.fromkeys(record["corpus"] for record in records)):  # the best is written last
            own = [record for record in records if record["corpus"] == corpus]
            add_best(f"{key}__on__{short_name(corpus).replace('-', '_')}", own, named)
    return texts


def page_texts(pools: Pools, answers: list[dict[str, Any]] | None = None) -> dict[str, str]:
    """Everything that ``{{ … }}`` may name on a page or a slide: the values of the records, and what the reproduction table says.

    ``answers`` is the table where it is at hand already.
    """
    answers = reproduction.join(reproduction.read_rows(), pools) if answers is None else answers
    return substitutions(pools) | reproduction.table_texts(answers)


def with_own_numbers(page: dict[str, Any], name: str, texts: dict[str, str], own: dict[str, list]) -> None:
    """Write the numbers that the notebook ``name`` names of itself into the prose of its executed ``page``: those of this build (``own``), which its figures show.

    ``texts`` may hold them of a better tier.  One that this build did not record, though another did, is said to be none here.  A name that says its
    corpus (``…__on__books``) or ruler (``…__of__gpt2``) asks for the published record, which the stored tables of the chapter belong to, and stays.
    """
    prefix = substitution_key(f"{name}:")
    here = substitutions(
        Pools({identifier: own[identifier] for identifier in own if identifier.startswith(f"{name}:")}, {})
    )

    def number(match: re.Match) -> str:
        key = match[1]
        if not key.startswith(prefix) or "__on__" in key or "__of__" in key or (key not in here and key not in texts):
            return match[0]
        return here.get(key, "none here")

    for cell in page["cells"]:
        if cell["cell_type"] == "markdown":
            cell["source"] = _SUBSTITUTION.sub(number, "".join(cell["source"]))


def home_of(folder: Path, edition: str) -> Path:
    """Where the source and the pages of an edition lie: those of the public one in the build itself, the others apart."""
    return folder if edition == "reader" else folder / "editions" / edition


def contents_of(contents: dict[str, Any], edition: str) -> dict[str, Any]:
    """The table of contents of an edition: with the pages of the library, for instructors also with their guide behind the page for teachers.

    >>> pages = {"parts": [{"chapters": [{"file": "teach"}, {"file": "status"}]}]}
    >>> [one["file"] for one in contents_of(pages, "instructor")["parts"][0]["chapters"]]
    ['teach', 'guide', 'status']
    """
    parts = []
    for part in contents["parts"]:
        chapters = []
        for page in part["chapters"]:
            chapters += [page] + [{"file": "guide"}] * (edition == "instructor" and page == {"file": "teach"})
        parts.append(part | {"chapters": chapters})
    return contents | {"parts": [*parts, api.contents()]}


def material(folder: Path, edition: str, texts: dict[str, str]) -> dict[Path, bytes]:
    """What no page of prose has a part in: chapters with their exhibits, the library's pages, clean notebooks, numbers of interactive parts.

    ``texts`` are those of :func:`page_texts`.
    """
    own = {record["id"]: [record] for record in load_values(folder / "records").values()}
    files: dict[Path, bytes] = {}
    for path in sorted((folder / "executed").glob("*/*.ipynb")):
        relative = path.relative_to(folder / "executed")
        name = str(relative.with_suffix(""))
        # Cut first: what an answer draws is no exhibit where the answer is not shown.
        page = shown_in(json.loads(path.read_bytes()), edition, f"notebooks/{name}.md")
        page, taken = exhibits.arrange(page, name, folder / "records")
        with_own_numbers(page, name, texts, own)
        files |= taken
        page_content = json.dumps(page, ensure_ascii=False, indent=1).encode()
        files[Path("notebooks") / relative] = api.with_links(page_content)
    files |= api.pages()
    files[Path(DATA_FILE)] = widget_file()
    # Readers take the clean notebooks without answers along, not the executed ones with them.
    copies = clean_notebooks("instructor" if edition == "instructor" else "student", texts, folder / "executed")
    files[NOTEBOOKS_ZIP] = archive(copies)
    return files


def gather(folder: Path, edition: str = "reader") -> dict[Path, bytes]:
    """Every file of the Sphinx source of an edition, by path relative to it."""
    pools = read_pools(folder / "records")
    answers = reproduction.join(reproduction.read_rows(), pools)
    texts = page_texts(pools, answers)
    files: dict[Path, bytes] = {}
    for path in sorted(BOOK.rglob("*")):
        relative = path.relative_to(BOOK)
        if (
            path.is_file()
            and relative.suffix != ".yml"  # what is asked and set there is read here
            and "__pycache__" not in relative.parts
        ):
            files[relative] = path.read_bytes()
    files |= kept_files(
        home_of(folder, edition) / "material",
        key_of_material(folder, edition),
        lambda: material(folder, edition, texts),
    )
    if edition == "instructor" and Path("teach.md") in files:
        files[Path("guide.md")] = sessions.GUIDE.read_bytes()
    contents = contents_of(yaml.safe_load((BOOK / "_toc.yml").read_text()), edition)
    files[Path("_toc.yml")] = yaml.safe_dump(contents, sort_keys=False, allow_unicode=True).encode()
    config = yaml.safe_load((BOOK / "_config.yml").read_text())
    config["parse"]["myst_substitutions"] = texts
    files |= exhibits.asked_for(files, pools)
    config["sphinx"]["config"]["html_extra_path"] = (
        ["extra"] if any(exhibits.EXTRA in path.parents for path in files) else []
    )
    if edition != "reader":
        config["title"] += f" ({edition} edition)"
    files[Path("_config.yml")] = yaml.safe_dump(config, sort_keys=True, allow_unicode=True).encode()

    stops = reading_path.read_path()
    labels = figure_labels(files)
    tables = {
        "CLAIMS": claims.claims_text(claims.read_claims(), answers, labels),
        "PATH": reading_path.path_list(stops),
        "REPRODUCTION": _rows_of(
            answers, "paper", labels, "Figures, tables and theorems of the paper, and what our records say of each"
        ),
        "ADDITIONS": _rows_of(answers, "addition", labels, "What this book adds, by the same rules"),
        "RELATED": _rows_of(answers, "related", labels, "The labs, a related paper each"),
        "CRITERIA": captioned("Rule and reason of every row", reproduction.criteria_table(answers)),
        "WORDS": captioned("The words, best evidence first", reproduction.words_table()),
        "STATUS": captioned("The last run of every notebook", status.status_table(status.read_status(folder))),
        "ATTACKS": attacked.attack_table(attacked.read_attacks(RESULTS / "attack")),
        "MISSING": bibliography.missing_table(bibliography.read_works()),
        "PERFORMANCE": captioned("Ours against theirs", performance(PROJECT / "benchmarks" / "report.json")),
    }
    if Path("teach.md") in files:
        tables |= sessions.course_tables(slides=(folder / "slides").is_dir())
    if Path("licences.md") in files:  # reads what two hundred packages say of themselves
        tables |= licences_shown()
    for page in [page for page in files if page.suffix == ".md"]:
        text = files[page].decode()
        for name, table in tables.items():
            text = text.replace(f"<<{name}>>", table)
        files[page] = text.encode()
    files |= reading_path.with_marks(files, stops)
    check_names(files, set(texts))
    exhibits.check_references(files)
    return files


def _rows_of(answers: list[dict[str, Any]], kind: str, labels: set[str], caption: str) -> str:
    rows = [row for row in answers if row["kind"] == kind]
    return captioned(caption, reproduction.reproduction_table(rows, labels))


def figure_labels(files: dict[Path, bytes]) -> set[str]:
    """The labels of the figures and tables that the pages number.

    >>> sorted(figure_labels({Path("a.md"): b":name: fig-a-curves\\n", Path("b.ipynb"): b'":name: fig-b-law\\\\n"'}))
    ['fig-a-curves', 'fig-b-law']
    """
    pages = [content.decode() for path, content in files.items() if path.suffix in (".md", ".ipynb")]
    return {label for page in pages for label in re.findall(r":name: ((?:fig|tab)-[\w-]+)", page)}


def performance(report: Path) -> str:
    """The benchmark report as a table; says so when there is none yet."""
    if not report.exists():
        return "No benchmark has been recorded yet; `make bench` makes the report."
    lines = ["| what | ours | theirs | unit | ratio | note |", "| --- | ---: | ---: | --- | ---: | --- |"]
    for row in json.loads(report.read_text()):
        numbers = [format_number(row[key]) for key in ("ours", "theirs")]
        lines.append(
            f"| {row['name']} | {numbers[0]} | {numbers[1]} | {row['unit']} | {format_number(row['ratio'])} × | {row['note']} |"
        )
    return "\n".join(lines)


def licences_shown() -> dict[str, str]:
    """What the page of licences shows: the tables, and each licence text in a box that opens."""
    licences = read_licences(LICENCES)
    boxes = [f":::{{dropdown}} {name}\n~~~text\n{text}\n~~~\n:::" for name, text in licence_texts(licences).items()]
    tables = re.sub(
        r"(?m)^## (.+)\n\n((?:(?!\||## ).+\n\n)?)((?:\|.*(?:\n|\Z))+)",
        lambda match: (
            f"## {match[1]}\n\n{match[2]}{captioned(f'{match[1]}: what it is and its licence', match[3].strip())}\n"
        ),
        licence_tables(PROJECT, licences),
    )
    return {"LICENCES": tables, "LICENCE-TEXTS": "\n\n".join(boxes)}


def check_names(files: dict[Path, bytes], known: set[str]) -> None:
    """Every substitution and every figure that a page names must exist; raises :class:`BuildError` with a line, file and cell, for each that does not."""
    wrong = []
    for path, where, text in exhibits.page_parts(files):
        text = re.sub(r"`[^`\n]*`", "", text)  # inline code may show the syntax without meaning it
        lost = [name for name in _SUBSTITUTION.findall(text) if name not in known]
        wrong += [f"{path}{where}: {why_lost(name, known)}" for name in lost]
        wrong += [f"{path}{where}: no figure {name}" for name in _FIGURE.findall(text) if Path(name) not in files]
    if wrong:
        raise BuildError("\n".join(wrong))


def assemble(folder: Path, edition: str = "reader") -> Path:
    """Write the Sphinx source of an edition of a build to the folder ``source`` of its home (:func:`home_of`); returns it."""
    source = home_of(folder, edition) / "source"
    files = gather(folder, edition)
    for path, content in files.items():
        target = source / path
        if not target.exists() or target.read_bytes() != content:
            write_atomically(target, content)
    for path in [path for path in source.rglob("*") if path.is_file() and path.relative_to(source) not in files]:
        path.unlink()
    return source
