"""Self-check questions: what the page holds, what the browser does with it, and what ends the build."""

import re

import pytest
from tiny_pages import build_pages

from l2m_utils.book import selfcheck
from l2m_utils.project import PROJECT

GOOD = """:::{selfcheck} Is $x^2 < 0$ in {numref}`fig-one`?
:label: sc-one

Let $x$ be real.

- [ ] Yes, $x^2$ is
  : A square, see {numref}`fig-one`, is
    never negative.
- [x] No
  : Right, as $x^2 \\ge 0$.
- [ ] Sometimes
  : Never.
:::
"""
PAGE = f"# Page\n\n:::{{figure}} one.png\n:name: fig-one\nA caption\n:::\n\n{GOOD}\n"


def block(body, title="Which?", label="sc-bad"):
    return f":::{{selfcheck}} {title}\n" + (f":label: {label}\n" if label else "") + f"\n{body}\n:::\n"


TWO = "- [x] One\n  : Yes.\n- [ ] Two\n  : No."
BAD = {
    "0 right choices": block(TWO.replace("x", " ")),
    "2 right choices": block(TWO.replace("[ ]", "[x]")),
    "choice 'Two' has no feedback": block(TWO.replace("\n  : No.", "")),
    "'One' has two lines of feedback": block(TWO.replace("  : Yes.", "  : Yes.\n  : Again.")),
    "1 choice": block("- [x] One\n  : Yes."),
    "9 choice": block(TWO + "\n- [ ] More\n  : No." * 7),
    "no question": block(TWO, title=""),
    "label ''": block(TWO, label=""),
    "label 'Sc One'": block(TWO, label="Sc One"),
    "'What is this' is no choice": block(TWO + "\nWhat is this"),
    "stands twice on this page": block(TWO, label="sc-bad-1") + "\n" + block(TWO, label="sc-bad-1"),
    "the label stands in": block(TWO, label="sc-one"),
}


@pytest.fixture(scope="module")
def site(tmp_path_factory):
    folder = tmp_path_factory.mktemp("selfcheck")
    files = {
        "page": PAGE,
        "book": ["# Notebook", GOOD.replace("sc-one", "sc-two"), "## More\n\n" + block(TWO, label="sc-three")],
        "without": "---\norphan: true\n---\n\n# None\n\nProse.\n",
    }
    assert build_pages(folder, files) == ""
    return folder / "html"


def test_a_page_and_a_notebook_hold_whole_questions(site):
    for page, label, questions in (("page", "sc-one", 1), ("book", "sc-two", 2)):
        text = (site / f"{page}.html").read_text()
        assert text.count('<div class="l2m-selfcheck"') == text.count("<fieldset>") == questions
        question = text[text.index(f'id="{label}"') :].split("</details>")[0]
        legend = re.search(r"<legend>(.*?)</legend>", question, re.S)[1]
        assert "Fig. 1" in legend and 'class="math' in legend
        assert re.findall(rf'type="radio" name="{label}" id="([\w-]+)"', question) == [f"{label}-{x}" for x in "abc"]
        assert re.findall(r'<label for="([\w-]+)"', question) == [f"{label}-{x}" for x in "abc"]
        feedback = re.findall(r"<li value.*?</li>", question.split("<details>")[1], re.S)
        assert [("Right." in one, "Not this one." in one) for one in feedback] == [(0, 1), (1, 0), (0, 1)]
        assert "Fig. 1" in feedback[0] and "never negative" in feedback[0] and 'class="math' in feedback[1]
        assert "Let " in question.split("</legend>")[1].split("<input")[0]
        assert re.search(r'<script defer="defer" src="_static/selfcheck.js', text) and "selfcheck.css" in text
        assert not re.search(r"\son\w+=", question)
        identities = re.findall(r'\sid="([^"]+)"', text)
        assert len(identities) == len(set(identities))
    assert "selfcheck" not in (site / "without.html").read_text()


def test_bad_questions_end_the_build_with_the_cell(tmp_path):
    files = {"page": PAGE, "zbad": ["# Bad\n", *BAD.values()]}
    warned = build_pages(tmp_path, files).strip().splitlines()
    assert len(warned) == len(BAD)
    for number, (line, expected) in enumerate(zip(warned, BAD), 2):
        assert "zbad.ipynb" in line and f"cell {number}: self-check" in line and expected in line, (line, expected)


def test_every_question_of_the_book_can_be_asked():
    """Before a notebook is run: the build would say so minutes later."""
    labels = []
    for folder in ("book", "notebooks"):
        for path in sorted((PROJECT / folder).rglob("*.md")):
            found = [label for label, _ in selfcheck.questions_in(path.read_text())]
            assert len(found) == path.read_text().count("{selfcheck}"), path
            labels += found
    assert len(labels) == len(set(labels))


def test_the_script_is_small():
    assert (PROJECT / "book/_static/selfcheck.js").stat().st_size < 4096


def test_a_reader_with_keys_is_told_why(site, chrome):
    tab, broken = chrome.new_page(), []
    tab.on("pageerror", lambda error: broken.append(str(error)))
    tab.goto(f"file://{site}/page.html")
    said, fold = tab.locator("#sc-one [role=status]"), tab.locator("#sc-one details")
    assert said.inner_text() == "" and not fold.is_visible()
    tab.locator("#sc-one button").focus()
    tab.keyboard.press("Enter")
    assert said.inner_text() == "Choose an answer first."
    tab.focus("#sc-one-a")
    tab.keyboard.press("Space")
    tab.keyboard.press("Enter")
    assert said.inner_text().startswith("Not this one. A square, see Fig. 1") and fold.is_visible()
    assert said.get_attribute("data-answer") == "wrong" and said.get_attribute("aria-live") == "polite"
    tab.keyboard.press("ArrowDown")  # another choice: what was said no longer holds
    assert said.inner_text() == "" and tab.locator("#sc-one-b").is_checked()
    tab.keyboard.press("Tab")
    tab.keyboard.press("Space")
    assert said.inner_text().startswith("Right. ") and said.get_attribute("data-answer") == "right"
    tab.emulate_media(media="print")
    assert fold.locator("li").first.is_visible() and not tab.locator("#sc-one button").is_visible()
    tab.close()
    plain = chrome.new_context(java_script_enabled=False).new_page()
    plain.goto(f"file://{site}/page.html")
    assert plain.locator("#sc-one details").is_visible() and not plain.locator("#sc-one button").count()
    plain.locator("#sc-one summary").click()
    assert "Never." in plain.locator("#sc-one details").inner_text()
    plain.context.close()
    assert not broken
