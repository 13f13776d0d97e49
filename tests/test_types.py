"""Types: no error in the rooms that pyproject.toml names, elsewhere a count that only falls, few exceptions with a reason each.

`make check` runs this file, `make test` leaves it out: pyright reads the whole library in under a minute.
"""

import json
import re
import subprocess
import sys
import tomllib
from collections import Counter
from importlib.util import find_spec

import pytest

from l2m_utils.project import PROJECT

RULES = tomllib.loads((PROJECT / "pyproject.toml").read_text())["tool"]["l2m"]["types"]


@pytest.fixture(scope="module")
def errors() -> list[str]:
    """Every error of pyright as ``room/file.py:line rule message``."""
    command = [sys.executable, "-m", "pyright", "--pythonpath", sys.executable, "--outputjson"]
    done = subprocess.run(command, cwd=PROJECT, capture_output=True, text=True)
    report = json.loads(done.stdout)
    assert report["summary"]["filesAnalyzed"] >= len(list((PROJECT / "l2m_utils").glob("**/*.py")))
    return [
        f"{one['file'].split('/l2m_utils/')[-1]}:{one['range']['start']['line'] + 1} {one.get('rule')} {one['message']}"
        for one in report["generalDiagnostics"]
        if one["severity"] == "error"
    ]


def test_no_error_in_the_clean_rooms(errors):
    found = [error for error in errors if error.split("/")[0] in RULES["clean"]]
    assert not found, "\n".join([f"{len(found)} errors of types:", *found])


@pytest.mark.skipif(
    sys.version_info[:2] != (3, 11) or find_spec("triton") is not None,
    reason="the count is kept for Python 3.11 without Triton: both move it a little",
)
def test_the_count_elsewhere_only_falls(errors):
    found = Counter(error.split(":")[0] for error in errors if error.split("/")[0] not in RULES["clean"])
    allowed = RULES["errors_elsewhere"]
    table = "\n".join(f"{count:4} {name}" for name, count in found.most_common())
    assert found.total() <= allowed, (
        f"{found.total()} errors of types, at most {allowed} expected; mend yours:\n{table}"
    )
    assert found.total() == allowed, (
        f"{found.total()} errors of types are left: write that number, not {allowed}, as errors_elsewhere into pyproject.toml"
    )


def test_exceptions_are_few_and_say_why():
    marks = [
        (path.relative_to(PROJECT), line.strip())
        for path in sorted((PROJECT / "l2m_utils").glob("**/*.py"))
        for line in path.read_text().splitlines()
        if re.search(r"#\s*(pyright|type|mypy):\s*ignore", line)
    ]
    assert len(marks) <= RULES["ignores_at_most"]
    for path, line in marks:
        assert re.search(r"# pyright: ignore\[\w+(, \w+)*\]  # \w.{9,}", line), (
            f"{path}: {line!r}, expected '# pyright: ignore[rule]  # the reason'"
        )
