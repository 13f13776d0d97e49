"""A whole project in miniature, with a copy of the library, three notebooks and two pages: what the tests of the build drive."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

from l2m_utils.project import PROJECT
from l2m_utils.records import Recorder

FRONT = """---
jupytext:
  text_representation: {{extension: .md, format_name: myst}}
kernelspec: {{display_name: Python 3, language: python, name: python3}}
{l2m}---

# {title}

```{{code-cell}} ipython3
:tags: [parameters]

tier = "laptop"
seed = 0
records = ""
{parameters}
```

```{{code-cell}} ipython3
{code}
```
"""

FIRST = """from l2m_utils.records import Recorder
from l2m_utils.stats.tiny_answer import answer

run = Recorder("part/first", tier, seed=seed, folder=records)
run.value("answer", answer() + offset, unit="")"""

SECOND = """from pathlib import Path
from l2m_utils.project import PROJECT
from l2m_utils.records import Recorder, load_values, stored_table

run = Recorder("part/second", tier, seed=seed, folder=records)
first = load_values(run.folder)["part/first:answer"]["value"]
run.value("sum", int(first + stored_table("part/old", "runs")[0]["n"].sum()), unit="")
print((PROJECT / "book" / "data.json").read_text())"""

# Names as they may come from outside: values of records, models, lines that a cell prints.
HOSTILE = [
    "<script>document.title='taken'</script>",
    "<img src=x onerror=alert(1)>",
    "**b** _i_ `c` [l](javascript:alert(1))",
    "$x^2$ $$y$$ \\(z\\) \\[w\\]",
    "{{ part_first__answer }} {math}`x`",
    "a|b & <b>c</b>\n\n# d",
]

TEXT = f"""from l2m_utils.records import Recorder
from l2m_utils.text import corpora

text = corpora.load(corpus)
run = Recorder("part/text", tier, text.name, seed, records)
run.value("documents", len(text), unit="")
for number, word in enumerate({HOSTILE!r}):
    run.value(f"word-{{number}}", word, unit="", model=word, note=word)
    print(word)
```

```{{code-cell}} ipython3
run.summary()"""


GLOSSARY = "\n```{glossary}\nnats\n  A unit.\n```\n"  # which the search index names

NO_REFERENCE = """
def pages():
    return {Path("api.md"): b"# The library\\n"}

def contents():
    return {"caption": "The library", "chapters": [{"file": "api"}]}

def with_links(notebook):
    return notebook
"""


NO_WIDGETS = """
def widget_file():
    return b"{}"
"""

NO_NEEDS = """
def shortages(corpus, parameters):
    return []
"""


class TinyProject:
    """The project folder ``home``, written unless it is there; ``build`` is its build of tier smoke and the text folder ``texts``."""

    patience = 900.0  # seconds that one command may take

    def __init__(self, home: Path):
        self.home = home
        self.build = home / "_build" / "smoke-texts"
        if not home.exists():
            self._write()

    def _write(self) -> None:
        home = self.home
        shutil.copytree(PROJECT / "l2m_utils", home / "l2m_utils", ignore=shutil.ignore_patterns("__pycache__"))
        shutil.copytree(PROJECT / "workflow", home / "workflow", ignore=shutil.ignore_patterns("tiers"))
        # The pages of the library, the numbers of interactive parts and what notebooks need of a text are tested elsewhere, and would take
        # longer than everything here.
        for name, less in (("api", NO_REFERENCE), ("widget_data", NO_WIDGETS)):
            module = self.home / f"l2m_utils/book/{name}.py"
            module.write_text(module.read_text() + less)
        self.write("l2m_utils/experiments/text_draws.py", NO_NEEDS)
        self.write("pyproject.toml", "# a checkout\n")
        self.write("requirements.lock", "# none\n")
        self.write("CITATION.cff", "title: none\n")
        self.write(
            "l2m_utils/stats/tiny_answer.py",
            "from l2m_utils.stats.tiny_deep import deep\n\n\ndef answer():\n    return deep()\n",
        )
        self.write(
            "l2m_utils/stats/tiny_deep.py",
            "def deep():\n    from l2m_utils.stats import tiny_late\n\n    return tiny_late.VALUE\n",
        )
        self.write("l2m_utils/stats/tiny_late.py", "VALUE = 41\n")
        self.write("workflow/tiers/smoke.yml", "description: x\nnotebooks: {part/first: {offset: 1}}\n")
        for tier in ("laptop", "gpu", "cluster"):
            self.write(f"workflow/tiers/{tier}.yml", "description: x\nnotebooks: {}\n")
        self.notebook("first", FIRST, parameters="offset = 0")
        self.notebook(
            "second", SECOND, l2m="l2m: {needs: [part/first], stored: ['part/old:runs'], files: [book/data.json]}\n"
        )
        self.notebook("text", TEXT, parameters='corpus = "python-docs"')
        for name in ("a", "b", "c"):
            self.write(f"texts/{name}.txt", f"This is text {name}. It has two sentences.\n" * 30)
        self.write("book/data.json", "{}\n")
        words = "".join(f"- Word {{{{ part_text__word_{number} }}}} end\n" for number in range(len(HOSTILE)))
        self.write(
            "book/index.md", f"# Start\n\nThe answer is {{{{ part_first__answer__value }}}}.\n\n{words}{GLOSSARY}"
        )
        self.write("book/prose.md", "(prose)=\n# Prose\n\nOld words.\n")
        self.write(
            "book/_toc.yml",
            "format: jb-book\nroot: index\nparts:\n- caption: Part\n  chapters:\n"
            + "".join(
                f"  - file: {page}\n"
                for page in ("prose", "notebooks/part/first", "notebooks/part/second", "notebooks/part/text")
            ),
        )
        for name in ("reproduction", "claims", "reading-path"):
            self.write(f"book/{name}.yml", "[]\n")
        self.write("book/references.bib", "")
        self.write("book/licences.yml", (PROJECT / "book" / "licences.yml").read_text())
        for name in ("_config.yml", "site.yml", "_static/l2m.css", "_static/l2m.js", "_static/favicon.svg"):
            self.write(f"book/{name}", (PROJECT / "book" / name).read_text())
        self.store([1, 2])

    def write(self, name: str, content: str) -> Path:
        path = self.home / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(content)
        return path

    def notebook(self, name: str, code: str, parameters: str = "", l2m: str = "") -> Path:
        text = FRONT.format(title=name.title(), code=code, parameters=parameters, l2m=l2m)
        return self.write(f"notebooks/part/{name}.md", text)

    def store(self, numbers: list[int]) -> None:
        """Publish the table that the second notebook reads."""
        import pandas as pd

        Recorder("part/old", "laptop", folder=self.home / "results" / "laptop-none").table(
            "runs", pd.DataFrame({"n": numbers})
        )

    def environment(self) -> dict[str, str]:
        return {**os.environ, "PYTHONPATH": str(self.home), "OMP_NUM_THREADS": "1"}

    def command(self, *words: str, tier: str = "smoke", corpus: str = "texts") -> list[str]:
        which = ["--tier", tier, "--corpus", corpus]
        return [sys.executable, "-m", "l2m_utils", "book", words[0], *which, *words[1:]]

    def run(self, *words: str, **which: str) -> subprocess.CompletedProcess:
        """One command of the front door, to its end."""
        command = self.command(*words, **which)
        return subprocess.run(
            command, cwd=self.home, env=self.environment(), capture_output=True, text=True, timeout=self.patience
        )

    def start(self, *words: str, **which: str) -> subprocess.Popen:
        """One command, running."""
        command = self.command(*words, **which)
        return subprocess.Popen(
            command, cwd=self.home, env=self.environment(), stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
        )

    def executed(self, done: subprocess.CompletedProcess) -> set[str]:
        """Names of the notebooks that a run of ``book`` executed; fails with its messages when the run failed."""
        assert done.returncode == 0, done.stdout + done.stderr
        return {line.split()[1].split("/")[1] for line in done.stdout.splitlines() if line.startswith("running ")}
