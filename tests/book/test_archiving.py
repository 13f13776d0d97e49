"""The archive takes the site of the files that are checked out, and no other."""

from types import SimpleNamespace

import pytest

from l2m_utils.book import archiving
from l2m_utils.book.errors import BuildError


@pytest.fixture
def archived(tmp_path, monkeypatch):
    """Archive a build in miniature in which ``changed`` has changed since; what was handed to the writer comes back."""
    folder, given = tmp_path / "_build" / "smoke-x", {}
    monkeypatch.setattr(
        archiving, "write_archive", lambda *words, **options: given.update(options) or tmp_path / "a.zip"
    )
    monkeypatch.setattr(archiving, "licence_report", lambda *words: "# Licences")
    monkeypatch.setattr(archiving.fingerprints, "named", lambda path: path.relative_to(tmp_path).as_posix())

    def run(changed):
        monkeypatch.setattr(archiving.fingerprints, "changes", lambda *words: changed)
        place = SimpleNamespace(path=None, source="python-docs", name="python-docs")
        return archiving.archive_build(place, folder, tmp_path / "out")[1], sorted(given["built"])

    return folder, run


def test_a_build_goes_in_with_its_public_editions(archived):
    folder, run = archived
    assert run(None) == (False, [])  # nothing is built, so nothing can be old
    for name in ("html", "slides", "editions/student/html", "editions/instructor/html"):
        (folder / name).mkdir(parents=True)
    assert run(set()) == (True, ["editions/student", "site", "slides"])
    assert run({"_build/smoke-x/html/l2m-book.pdf", "_build/smoke-x/html/index.html"})[0], "the PDF comes later"


def test_a_site_of_other_files_is_refused(archived):
    folder, run = archived
    (folder / "html").mkdir(parents=True)
    with pytest.raises(
        BuildError, match=r"_build/smoke-x/html is not that of these files \(book/a.md\): build it again"
    ):
        run({"book/a.md", "_build/smoke-x/html/index.html"})
    with pytest.raises(BuildError, match="half built, or with another Python"):
        run(None)
