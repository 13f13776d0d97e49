"""Every command of the front door, as a process: what it says and how it ends."""

import http.client
import json
import os
import re
import signal
import subprocess
import sys

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
        (("publish", "--corpus", "LICENSE.txt"), "error: no records of any notebook in"),
        (("serve", "--corpus", "LICENSE.txt"), "error: no book in _build/laptop-license/html; run `make book`"),
        (("html", "--corpus", "LICENSE.txt"), "`make book` writes it"),
        (("check-usage", "--corpus", "LICENSE.txt"), "not executed in _build/laptop-license"),
        (("notebook", "part/first", "--folder", "book"), "plan.json is not readable"),
        (("build", "--jobs", "0"), "error: JOBS or --jobs: got '0', expected a whole number of at least 1"),
        (("build", "--jobs=-1"), "error: JOBS or --jobs: got '-1', expected a whole number of at least 1"),
        (("build", "--jobs=x"), "error: JOBS or --jobs: got 'x', expected a whole number of at least 1"),
        (("build", "--engine=it's"), 'error: ENGINE or --engine: "it\'s": No closing quotation'),
        (("build", "--corpus", "two\nlines"), "error: CORPUS or --corpus: 'two\\nlines' has a line break"),
        (("build", "--corpus", b"caf\xe9"), "error: CORPUS or --corpus: 'caf\\udce9' has a line break, or a character"),
        ((), "the following arguments are required: COMMAND"),
    ],
)
def test_what_is_wrong_is_one_message_and_no_traceback(words, said, tiny):
    for name in ("LICENSE.txt", "README.md"):
        tiny.write(name, "x")
    done = call(*words, cwd=tiny.home, env=tiny.environment())
    assert done.returncode in (1, 2) and said in done.stderr and "Traceback" not in done.stderr
    assert len(done.stderr.splitlines()) <= 2 or "jobs" not in said and "line break" not in said


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
    """`1e5`, `a: b` and quotes once died on the way through Snakemake's configuration."""
    for name in ("1e5", "it's: {here} $HOME"):
        (tiny.home / "texts").rename(tiny.home / name)
        done = tiny.run("corpus", corpus=name)
        assert done.returncode == 0 and "3 documents" in done.stdout, done.stderr
        (tiny.home / name).rename(tiny.home / "texts")


def test_make_passes_values_as_they_are(tmp_path):
    """A stand-in for Python shows its words: make reads dollars in what it is given, shells quotes, and both line breaks."""
    (tmp_path / "Makefile").write_text((PROJECT / "Makefile").read_text())
    python = tmp_path / ".venv/bin/python"
    python.parent.mkdir(parents=True)
    python.write_text("#!/bin/sh\nprintf '%s\\0' \"$@\"\n")
    python.chmod(0o755)
    for name in (
        "it's {here} $HOME $$; echo `no` \"",
        "$(shell touch made)",
        "--tier",
        "two\nlines",
        "中文 [x]",
        "#1\\",
    ):
        given = [f"CORPUS={name}", "JOBS=x y", "ENGINE=--set 'a b'"]
        for words, more in ((given, {}), ([], dict(pair.split("=", 1) for pair in given))):
            command = ["make", "--silent", "book", "--old-file=setup", *words]
            done = subprocess.run(command, cwd=tmp_path, env={**os.environ, **more}, capture_output=True, text=True)
            got = done.stdout.split("\0")
            assert {f"--corpus={name}", "--jobs=x y", "--engine=--set 'a b'"} <= set(got), done.stdout + done.stderr
    assert not (tmp_path / "made").exists()


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


def ask(port, path, **headers):
    """Status and body of one request whose path and headers are sent as they are."""
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=20)
    connection.putrequest("GET", path, skip_host=True)
    for name, value in headers.items():
        connection.putheader(name, value)
    connection.endheaders()
    answer = connection.getresponse()
    found = answer.status, answer.read()
    connection.close()
    return found


def test_serve_shows_the_book_and_nothing_else_until_it_is_interrupted(tiny):
    page = tiny.write("_build/smoke-texts/html/index.html", "<p>here</p>")
    secret = tiny.write("secret/index.html", "secret")
    (page.parent / "sub").mkdir()
    (page.parent / "out.html").symlink_to(secret)
    (page.parent / "outside").symlink_to(secret.parent)
    (page.parent / "sub" / "index.html").symlink_to(secret)
    (page.parent / "circle").symlink_to("circle")
    (page.parent / "again.html").symlink_to("index.html")
    server = tiny.start("serve", "--port", "0")
    try:
        port = int(re.match(r"http://127\.0\.0\.1:(\d+) ", server.stdout.readline())[1])
        for path in ("/index.html", "/", "/again.html"):
            assert ask(port, path, Host=f"127.0.0.1:{port}") == (200, page.read_bytes())
        assert ask(port, "/", Host="LocalHost")[0] == 200
        for path in (
            "/../plan.json",
            "/out.html",
            "/outside/",
            "/outside/index.html",
            "/sub/",
            "/circle",
            "/" + "a" * 5000,
        ):
            status, body = ask(port, path, Host="127.0.0.1")
            assert status == 404 and b"secret" not in body, path
        assert ask(port, "/%00", Host="127.0.0.1")[0] == ask(port, "/index.html%00.css", Host="127.0.0.1")[0] == 400
        for host in ("evil.example", "127.0.0.1.evil.example", f"evil.example:{port}", "127.0.0.1@evil", ""):
            assert ask(port, "/index.html", Host=host)[0] == 403, host
        taken = tiny.run("serve", "--port", str(port))
        assert taken.returncode == 1 and "choose another with --port" in taken.stderr
    finally:
        server.send_signal(signal.SIGINT)
        assert server.wait(timeout=20) == 0
        server.communicate()
