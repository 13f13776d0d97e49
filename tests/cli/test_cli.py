"""The command ``l2m``: quick to explain itself, right exit codes, and every command line that a page shows is one that it takes."""

import json
import re
import shlex
import subprocess
import sys

import pytest

from l2m_utils.cli.main import COMMANDS, main, parser_of
from l2m_utils.project import PROJECT
from l2m_utils.scoring.base import ScoringError

PAGES = sorted(
    path
    for pattern in ("*.md", "book/**/*.md", "notebooks/*/*.md", "workflow/*.smk", "l2m_utils/cli/*.py")
    for path in PROJECT.glob(pattern)
)
SHOWN = re.compile(rf"(?<![\w./-])(?:l2m|-m l2m_utils) (?:{'|'.join(COMMANDS)})\b[^`\"\n#&|]*")


def shown_commands():
    """(page: command, words after ``l2m``) of every command line that a page, workflow or help text shows, its variables filled in."""
    for path in PAGES:
        text = path.read_text().replace("\\\n", " ")
        arguments = " ".join(re.findall(r'^arguments="(?:\$arguments )?(.*)"$', text, flags=re.M))
        text = re.sub(r"\{[\w.]+(:q)?\}", "smoke", text.replace("$arguments", arguments))
        for command in SHOWN.findall(text):
            command = re.split(r"\s{3,}(?=[a-z])", command)[0]  # after a gap: what it does
            if not re.search("[{…]", command):  # put together by a cell, or "and so on"
                yield f"{path.relative_to(PROJECT)}: {command}", shlex.split(command.removeprefix("-m "))[1:]


@pytest.mark.parametrize(("name", "words"), [pytest.param(*shown, id=shown[0]) for shown in shown_commands()])
def test_a_command_that_a_page_shows_is_understood(name, words):
    parser_of(words[0]).parse_args(words[1:])


def test_pages_show_the_commands():
    """The search above finds what it should: a page that shows no command proves nothing."""
    found = {(name.split(":")[0], words[0]) for name, words in shown_commands()}
    wanted = {("notebooks/estimation/your-model.md", "measure"), ("notebooks/models/text-nll.md", "text")}
    wanted |= {("README.md", "measure"), ("notebooks/theory/hilberg-santa-fe.md", "sources")}
    assert wanted <= found
    assert {words[0] for _, words in shown_commands()} == set(COMMANDS)


def test_an_option_that_does_not_exist_is_refused(capsys):
    with pytest.raises(SystemExit, match="2"):
        main(["measure", "--model", "m", "--corpus", "c", "--folder", "f", "--nonsense"])
    assert "l2m measure: error: unrecognized arguments: --nonsense" in capsys.readouterr().err


@pytest.mark.parametrize("name", COMMANDS)
def test_an_example_is_shown_and_is_right(name, capsys):
    words = shlex.split(COMMANDS[name].example)
    assert words[:2] == ["l2m", name]
    parser_of(name).parse_args(words[2:])
    with pytest.raises(SystemExit, match="0"):
        main([name, "--help"])
    assert COMMANDS[name].example in capsys.readouterr().out


def test_explaining_imports_nothing_that_computes():
    """Help within a second: of all subcommands together, and nothing heavier than numpy."""
    script = """
import sys
from l2m_utils.cli.main import COMMANDS, parser_of
for name in COMMANDS:
    parser_of(name).format_help()
heavy = {"torch", "transformers", "pandas", "scipy", "matplotlib", "datasets", "pyarrow", "snakemake", "jupytext"}
print(sorted(heavy & set(sys.modules)))
"""
    done = subprocess.run([sys.executable, "-c", script], cwd=PROJECT, capture_output=True, text=True)
    assert done.stdout.strip() == "[]", done.stdout + done.stderr


def l2m(*words):
    return subprocess.run([sys.executable, "-m", "l2m_utils", *words], cwd=PROJECT, capture_output=True, text=True)


def test_the_package_is_the_command(capsys):
    """``python -m l2m_utils`` as ``torchrun`` calls it: help lists every command, an unknown one is refused."""
    done = l2m("--help")
    assert done.returncode == 0 and all(command.example in done.stdout for command in COMMANDS.values())
    assert l2m().returncode == 2
    wrong = l2m("measured")
    assert wrong.returncode == 2 and "invalid choice: 'measured'" in wrong.stderr and "Traceback" not in wrong.stderr


def test_an_interruption_is_one_line(monkeypatch, capsys):
    def interrupted(options):
        raise KeyboardInterrupt

    monkeypatch.setattr("l2m_utils.cli.sources.run", interrupted)
    assert main(["sources"]) == 130
    assert capsys.readouterr().err == "interrupted\n"


def test_any_error_is_one_line_that_names_the_step(monkeypatch, capsys):
    """Whatever a library raises, an error in Rust included, at any subcommand; our own words stand as they are."""
    panic = type("PanicException", (BaseException,), {"__module__": "pyo3_runtime"})
    long = "expected one of:\n" + ", ".join(f"Config{number}" for number in range(500)) + "\nTraceback"

    def table():
        json.loads("{")

    for error, message in (
        (ScoringError("ours, as it stands"), "error: ours, as it stands$"),
        (panic("out of\x1b[31m range"), r"error: .*PanicException: out of \[31m range .*shows where"),
        (KeyError(long), "error: .*KeyError: .*Config0, .*…"),
        (MemoryError(), "error: out of memory: close other programs"),
        (UnicodeDecodeError("utf-8", b"\xff", 0, 1, "invalid start byte"), "error: .*UnicodeDecodeError"),
        (PermissionError(13, "Permission denied", "/a/file"), "error: /a/file: Permission denied"),
    ):
        monkeypatch.setattr(
            "l2m_utils.sources.exponents.exponent_table", lambda error=error: (_ for _ in ()).throw(error)
        )
        assert main(["sources"]) == 1
        said = capsys.readouterr().err
        assert said.count("\n") == 1 and len(said) < 500 and re.match(message, said), said
    monkeypatch.setattr("l2m_utils.sources.exponents.exponent_table", table)
    monkeypatch.setenv("L2M_API_KEY", "double quotes")  # a message may hold a key by accident
    assert main(["sources"]) == 1
    said = capsys.readouterr().err
    assert re.match(
        r"error: in the step run \(cli/sources\): JSONDecodeError: Expecting property name enclosed in …", said
    ), said
    monkeypatch.setenv("L2M_TRACEBACK", "1")
    with pytest.raises(json.JSONDecodeError):
        main(["sources"])


def test_sources_prints_the_table(capsys):
    assert main(["sources"]) == 0
    row = next(line for line in capsys.readouterr().out.splitlines() if "sub-volume" in line)
    assert row.split()[-5:-3] == ["0.7925", "0.7925"]
