import fcntl
import os
import shutil

import pytest
from tiny_project import TinyProject

from l2m_utils.book.pdf import BROWSERS


@pytest.fixture
def tiny(tmp_path):
    """A small project that nothing was built in yet."""
    return TinyProject(tmp_path / "project with a space, 'quotes' and {braces}")


@pytest.fixture(scope="session")
def finished(tmp_path_factory):
    """A small project whose book is built, once for all processes of a run; tests take copies (:func:`built`) and leave it as it is."""
    folder = tmp_path_factory.getbasetemp()
    if "PYTEST_XDIST_WORKER" in os.environ:
        folder = folder.parent
    with (folder / "finished.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        home, done = folder / "finished", folder / "finished.done"
        if not done.exists():
            shutil.rmtree(home, ignore_errors=True)
            project = TinyProject(home)
            assert project.executed(project.run("build")) == {"first", "second", "text"}
            done.touch()
    return home


@pytest.fixture
def built(finished, tmp_path):
    """A small project whose book is built, for one test."""
    home = tmp_path / "project"
    shutil.copytree(finished, home)
    yield TinyProject(home)
    shutil.rmtree(home)  # 39 MB


@pytest.fixture(scope="module")
def chrome():
    """Chromium, started once a file; a test skips where there is none.

    It ends with the file: while one browser of Playwright runs in a thread no second one can start there, and later tests start their own.
    """
    browser = next(filter(None, map(shutil.which, BROWSERS)), None)
    if browser is None:
        pytest.skip("no Chromium on this machine")
    sync_api = pytest.importorskip("playwright.sync_api")
    options = ["--no-sandbox", "--disable-gpu", "--disable-background-networking"]
    with sync_api.sync_playwright() as tool:
        started = tool.chromium.launch(executable_path=browser, args=options)
        yield started
        started.close()
