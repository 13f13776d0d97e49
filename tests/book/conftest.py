import pytest
from tiny_project import TinyProject


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
