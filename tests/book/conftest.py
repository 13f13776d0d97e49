import shutil

import pytest
from tiny_project import TinyProject

from l2m_utils.book.pdf import BROWSERS


@pytest.fixture
def tiny(tmp_path):
    """A small project that nothing was built in yet."""
    return TinyProject(tmp_path / "project with a space, 'quotes' and {braces}")


@pytest.fixture(scope="module")
def built(tmp_path_factory):
    """A small project whose book is built; a test that changes it changes it back."""
    project = TinyProject(tmp_path_factory.mktemp("built") / "project")
    assert project.executed(project.run("build")) == {"first", "second", "text"}
    return project


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
