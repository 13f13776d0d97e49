"""What a test may not do: change a file that a build in the same tree reads or writes."""

import os
import shutil
import subprocess
import sys

import pytest

from l2m_utils.project import PROJECT
from l2m_utils.records import Recorder

FORBIDDEN = {
    "a record of an interactive run": lambda: Recorder("theory/example", "smoke").value("x", 1, unit=""),
    "a published record": lambda: (PROJECT / "results" / "x.json").write_text("{}"),
    "a page": lambda: (PROJECT / "book" / "index.md").open("a"),
    "a folder": lambda: (PROJECT / "_build" / "smoke-x").mkdir(),
    "a removal": lambda: shutil.rmtree(PROJECT / "_build" / "smoke-x" / "html"),
    "a move": lambda: os.rename(PROJECT / "_build" / "a", PROJECT / "_build" / "b"),
    "a module": lambda: (PROJECT / "l2m_utils" / "files.py").open("r+b"),
}


@pytest.mark.parametrize("what", FORBIDDEN)
def test_a_test_that_writes_where_a_build_works_is_stopped(what):
    with pytest.raises(
        (PermissionError, OSError), match="a test changes .*, which a build may be using: take tmp_path"
    ):
        FORBIDDEN[what]()


def test_reading_and_a_folder_of_its_own_are_free(tmp_path):
    assert (PROJECT / "book" / "index.md").read_text()
    (tmp_path / "_build").mkdir()
    command = [sys.executable, "-c", "import l2m_utils.project"]
    assert subprocess.run(command, cwd=PROJECT).returncode == 0
