"""Every command of the front door, as a process: what it says and how it ends."""

import json
import re
import signal
import subprocess
import sys
import urllib.error
import urllib.request

import pytest

from l2m_utils.project import PROJECT


def call(*words, cwd=PROJECT, env=None):
    command = [sys.executable, "-m", "l2m_utils", "book", *words]
    return subprocess.run(command, capture_output=True, text=True, cwd=cwd, env=env, timeout=60)


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (("build", "--tier", "huge"), "error: unknown tier 'huge': expected one of smoke, laptop, gpu, cluster"),
        (("serve", "--tier", "huge"), "error: unknown tier 'huge'"),
        (("build", "--corpus", "no/such/file.parquet"), "error: no/such/file.parquet: there is no such file or folder"),
        (("corpus", "--corpus", "no/such/file.parquet"), "(the text is chosen with CORPUS=… of make, or --corpus)"),
        (("reproduce", "--corpus", "wikipedia@main"), "error: wikipedia@main: revision 'main' is no commit"),
        (("publish", "--corpus", "LICENSE"), "error: no records of any notebook in"),
        (("serve", "--corpus", "LICENSE"), "error: no book in _build/laptop-license/html; run `make book`"),
        (("html", "--corpus", "LICENSE"), "`make book` writes it"),
        (("check-usage", "--corpus", "LICENSE"), "not executed in _build/laptop-license"),
        (("notebook", "part/first", "--folder", "book"), "plan.json is not readable"),
        (("build", "--jobs", "0"), "argument --jobs: got '0', expected a whole number of at least 1"),
        ((), "the following arguments are required: COMMAND"),
    ],
)
def test_what_is_wrong_is_one_message_and_no_traceback(words, said, tiny):
    for name in ("LICENSE", "README.md"):
        tiny.write(name, "x")
    done = call(*words, cwd=tiny.home, env=tiny.environment())
    assert done.returncode in (1, 2) and said in done.stderr and "Traceback" not in done.stderr


def test_an_installed_library_has_no_book(tiny):
    (tiny.home / "pyproject.toml").unlink()
    done = tiny.run("build")
    assert done.returncode == 1 and done.stderr.startswith("error: l2m book works in a checkout of the project")


def test_help_is_quick_in_what_it_imports():
    done = subprocess.run(
        [sys.executable, "-X", "importtime", "-m", "l2m_utils", "book", "--help"],
        capture_output=True,
        text=True,
        cwd=PROJECT,
    )
    assert "reproduce" in done.stdout and "check-usage" in done.stdout
    assert not re.search(r"\b(numpy|pandas|torch|snakemake)\b", done.stderr)


def test_status_prints_the_published_table():
    done = call("status")
    assert done.returncode == 0 and re.search(r"paper: \d+ proved, \d+ exact, \d+ reproduced", done.stdout)


def test_corpus_describes_the_text(tiny):
    done = tiny.run("corpus")
    assert done.returncode == 0 and done.stdout.startswith("texts: 3 documents, ")
    record = json.loads((tiny.build / "corpus.json").read_text())
    assert (record["name"], record["documents"], record["source"]) == ("texts", 3, "texts")


def test_a_name_that_yaml_and_shells_read_otherwise(tiny):
    """`2024`, `1e5`, `a: b` and quotes once died on the way through Snakemake's configuration."""
    for name in ("2024", "1e5", "a: b", "it's {here} $HOME"):
        (tiny.home / "texts").rename(tiny.home / name)
        done = tiny.run("corpus", corpus=name)
        assert done.returncode == 0 and "3 documents" in done.stdout, done.stderr
        (tiny.home / name).rename(tiny.home / "texts")


def test_make_passes_values_as_they_are(tiny):
    tiny.write("Makefile", (PROJECT / "Makefile").read_text())
    name = "it's {here} $HOME $$; echo `no`"
    done = subprocess.run(
        ["make", "-n", "book", f"CORPUS={name}", "-o", "setup"], cwd=tiny.home, capture_output=True, text=True
    )
    (line,) = [line for line in done.stdout.splitlines() if " build " in line]
    words = subprocess.run(
        ["sh", "-c", line.replace(line.split()[0], "printf '%s\\n'", 1)], capture_output=True, text=True
    )
    assert name in words.stdout.splitlines()


def test_an_unknown_notebook_names_those_that_there_are(tiny):
    assert tiny.run("corpus").returncode == 0
    job = {
        "name": "part/first",
        "path": "x",
        "parameters": {},
        "needs": [],
        "threads": 1,
        "corpus": "none",
        "inputs": {},
        "digest": "",
    }
    (tiny.build / "plan.json").write_text(json.dumps({"part/first": job}))
    done = call("notebook", "part/other", "--folder", str(tiny.build), cwd=tiny.home, env=tiny.environment())
    assert done.returncode == 1 and "error: no notebook 'part/other' in this build; it has part/first" in done.stderr


def test_serve_shows_the_book_until_it_is_interrupted(tiny):
    page = tiny.write("_build/smoke-texts/html/index.html", "<p>here</p>")
    server = tiny.start("serve", "--port", "0")
    try:
        address = re.match(r"(http://127\.0\.0\.1:\d+) ", server.stdout.readline())[1]
        assert urllib.request.urlopen(f"{address}/index.html").read() == page.read_bytes()
        with pytest.raises(urllib.error.HTTPError, match="404"):
            urllib.request.urlopen(f"{address}/../plan.json")
        taken = tiny.run("serve", "--port", address.rpartition(":")[2])
        assert taken.returncode == 1 and "choose another with --port" in taken.stderr
    finally:
        server.send_signal(signal.SIGINT)
        assert server.wait(timeout=20) == 0
        server.communicate()
