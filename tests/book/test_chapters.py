"""What the chapters say of themselves, and the sessions that are made of them."""

import ast
import json
import re

import jupytext
import pytest
import yaml

from l2m_utils.book.chapters import Chapter, among, depth_of, order_of, read_chapters
from l2m_utils.book.errors import BuildError
from l2m_utils.book.sessions import COURSE, course_tables, exercises_of, read_course, sessions_table
from l2m_utils.book.source import NOTEBOOKS
from l2m_utils.project import PROJECT


def chapter(tmp_path, name, course, title="# A title"):
    path = tmp_path / f"{name}.md"
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(f"---\nl2m:\n  course: {course}\n---\n\n{title}\n")
    return tmp_path


def test_every_notebook_but_those_about_the_book_is_a_chapter():
    names = {path.relative_to(NOTEBOOKS).with_suffix("").as_posix() for path in NOTEBOOKS.glob("*/*.md")}
    assert set(read_chapters()) == {name for name in names if not name.startswith("course/")}


def test_the_order_of_the_book_puts_nothing_before_what_it_requires():
    parts = yaml.safe_load((PROJECT / "book" / "_toc.yml").read_text())["parts"]
    files = [entry["file"].removeprefix("notebooks/") for part in parts for entry in part["chapters"]]
    chapters = read_chapters()
    listed = [name for name in files if name in chapters]
    assert set(listed) == set(chapters)
    for name in listed:
        assert all(listed.index(other) < listed.index(name) for other in chapters[name].requires), name


def test_a_chapter_without_a_word_and_one_that_does_not_exist(tmp_path):
    with pytest.raises(BuildError, match=r"notebooks/part/one.md: .*needs `l2m: course:"):
        read_chapters(chapter(tmp_path / "a", "part/one", "{}"))
    with pytest.raises(BuildError, match=r"part/one.md names the chapter 'part/two', which does not exist"):
        read_chapters(chapter(tmp_path / "b", "part/one", '{minutes: 5, requires: [part/two], next: "part/one: why"}'))
    with pytest.raises(BuildError, match=r'part/one.md needs a title, and `next: "chapter: why"` \(got \'part/one\'\)'):
        read_chapters(chapter(tmp_path / "c", "part/one", "{minutes: 5, requires: [], next: part/one}"))
    with pytest.raises(BuildError, match="part/one.md: .*minutes"):
        read_chapters(chapter(tmp_path / "d", "part/one", '{minutes: 0, requires: [], next: "part/one: why"}'))


def test_chapters_that_require_each_other():
    round_about = {
        name: Chapter(name, name, 1, (other,), other, "x") for name, other in (("a/b", "a/c"), ("a/c", "a/b"))
    }
    with pytest.raises(BuildError, match="require each other: a/. → a/. → a/."):
        order_of(round_about)


def test_depth_is_the_longest_way():
    chain = {"a": (), "b": ("a",), "c": ("a", "b"), "d": ()}
    made = {name: Chapter(name, name, 1, requires, "a", "x") for name, requires in chain.items()}
    assert depth_of(made) == {"a": 0, "b": 1, "c": 2, "d": 0}
    assert depth_of(among(made, ["a", "c"])) == {"a": 0, "c": 1}


def test_the_course_has_twelve_sessions_each_with_a_deck_and_thirteen_seminars():
    course = read_course(read_chapters())
    assert [bool(session.deck) for session in course.sessions] == 12 * [True]
    assert sum(bool(session.assignment) for session in course.sessions) == 5
    assert sorted(name for session in course.seminars for name in session.reading if name != "labs/map") == sorted(
        name for name in read_chapters() if name.startswith("labs/") and name != "labs/map"
    )
    decks = {path.stem for path in (COURSE / "decks").glob("*.md")}
    assert decks == {session.deck for session in course.sessions}
    assignments = {path.stem for path in (COURSE / "assignments").glob("*.md")}
    assert assignments == {session.assignment for session in course.sessions} - {""}


@pytest.mark.parametrize(
    "change, says",
    [
        ({"reading": ["theory/nothing"]}, "session 1 .A.: no chapter theory/nothing"),
        ({"exercises": ["ex-nothing-1"]}, "session 1 .A.: no exercise ex-nothing-1"),
        ({"exercises": ["ex-bipartite-1"]}, "exercise ex-bipartite-1 belongs to estimation/bipartite"),
        ({"deck": "00-nothing"}, "no deck .*/decks/00-nothing.md"),
        ({"assignment": "nothing"}, "no assignment .*/assignments/nothing.md"),
        ({"reading": ["models/atlas"]}, "models/atlas requires theory/l2m-condition, not read by then"),
        ({"hours": 2}, "sessions.yml: .*hours"),
    ],
)
def test_a_session_that_names_what_is_not_there(tmp_path, change, says):
    session = {"title": "A", "minutes": 90, "objectives": ["x"], "reading": ["theory/concept"]} | change
    (tmp_path / "sessions.yml").write_text(yaml.safe_dump({"sessions": [session], "seminars": []}))
    with pytest.raises(BuildError, match=says):
        read_course(read_chapters(), tmp_path)


def test_the_tables_link_to_slides_only_where_there_are_slides():
    with_slides, without = course_tables(slides=True), course_tables(slides=False)
    assert "](slides:01-question)" in with_slides["SESSIONS"] and "make slides" not in with_slides["SLIDES"]
    assert "slides:" not in without["SESSIONS"] and "make slides" in without["SLIDES"]
    assert without["SESSIONS"].count("\n|") == 14 and without["SEMINARS"].count("\n|") == 15
    chapters = read_chapters()
    assert f"({chapters['theory/concept'].minutes} min)" in sessions_table(
        read_course(chapters), chapters, slides=False
    )


def test_exercises_belong_to_chapters():
    assert set(exercises_of().values()) <= set(read_chapters())


def test_the_answer_about_the_table_is_that_of_the_table():
    """Assignment 5 says the words of some rows in its answer: they are those of the published table."""
    words = {row["id"]: row["state"] for row in json.loads((PROJECT / "results" / "reproduction.json").read_text())}
    text = (COURSE / "assignments" / "reading-a-record.md").read_text()
    said = dict(re.findall(r'^    "([\w.-]+)": \("([\w ]+)", "', text, re.MULTILINE))
    assert len(said) == 6 and all(words[row] == word for row, word in said.items())


def test_a_model_that_a_reader_names_comes_through_the_one_door():
    """``connect`` and ``read_tokenizer`` know packaged models and GGUF files; a class of scorers knows folders and hub ids only."""
    called = {}
    for path in NOTEBOOKS.glob("*/*.md"):
        cells = [cell for cell in jupytext.read(path).cells if cell.cell_type == "code"]
        given = [cell.source for cell in cells if "parameters" in cell.metadata.get("tags", [])]
        if re.search(r"^model = ", "\n".join(given), re.MULTILINE):
            nodes = [node for cell in cells for node in ast.walk(ast.parse(cell.source))]
            names = [ast.unparse(node.func) for node in nodes if isinstance(node, ast.Call)]
            called[path.stem] = {name.split(".")[-1] for name in names}
    assert {"bipartite", "your-model"} <= called.keys()
    assert [name for name, found in called.items() if not {"connect", "read_tokenizer"} <= found] == []
    assert {
        name: found & {"from_pretrained", "load_causal_model", "load_tokenizer", "VllmScorer", "ServerScorer"}
        for name, found in called.items()
    } == dict.fromkeys(called, set())
