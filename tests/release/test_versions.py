"""Version and date stand in one place, and whatever else names them agrees."""

import re
import tomllib

import pytest
import yaml

from l2m_utils import __version__
from l2m_utils.project import PROJECT
from l2m_utils.release.errors import ReleaseError
from l2m_utils.release.versions import prepare_release, read_release, release_notes

LOG = "# Log\n\n## Unreleased\n\n### Added\n\n- A thing.\n\n## Before the first tag: 23 to 27 November 2026\n\n- Old.\n"


def project(folder, version="0.1.0", cited="0.1.0", date="2026-11-28", log=LOG):
    (folder / "l2m_utils").mkdir(parents=True)
    (folder / "l2m_utils/__init__.py").write_text(f'"""Words."""\n\n__version__ = "{version}"\n')
    (folder / "CITATION.cff").write_text(f'cff-version: 1.2.0\nversion: {cited}\ndate-released: "{date}"\n')
    (folder / "CHANGELOG.md").write_text(log)
    return folder


def test_this_project_says_one_version():
    release = read_release(PROJECT)
    assert release.version == __version__
    pyproject = tomllib.loads((PROJECT / "pyproject.toml").read_text())
    assert "version" not in pyproject["project"] and pyproject["project"]["dynamic"] == ["version"]
    assert pyproject["tool"]["setuptools"]["dynamic"]["version"] == {"attr": "l2m_utils.__version__"}
    citation = yaml.safe_load((PROJECT / "CITATION.cff").read_text())
    assert (citation["version"], citation["date-released"]) == (release.version, release.date)


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        ({"cited": "0.2.0"}, "CITATION.cff: got version 0.2.0, expected 0.1.0"),
        ({"date": "2026-02-30"}, "got the date '2026-02-30'"),
        ({"date": "20261128"}, "got the date '20261128'"),
        ({"log": LOG + "## 0.0.9: 2026-01-01\n"}, "got '## 0.0.9: 2026-01-01' as the newest release"),
        ({"log": LOG + "## 0.1.0\n"}, "got '## 0.1.0' as the newest release"),
    ],
)
def test_what_disagrees_is_named(tmp_path, wrong, message):
    with pytest.raises(ReleaseError, match=re.escape(message)):
        read_release(project(tmp_path, **wrong))


def test_a_release_is_prepared_and_its_notes_are_those_of_its_heading(tmp_path):
    root = project(tmp_path)
    with pytest.raises(ReleaseError, match="no heading '## 0.1.0: 2026-11-28': run `l2m book release 0.1.0`"):
        release_notes(root, "v0.1.0")
    assert {path.name for path in prepare_release(root, "0.1.0", "2026-12-01")} == {
        "__init__.py",
        "CITATION.cff",
        "CHANGELOG.md",
    }
    assert read_release(root).date == "2026-12-01" and read_release(root).noted
    assert release_notes(root, "v0.1.0") == "Released on 2026-12-01.\n\n### Added\n\n- A thing.\n"
    with pytest.raises(ReleaseError, match="got the tag 'v0.2.0', expected 'v0.1.0'"):
        release_notes(root, "v0.2.0")
    with pytest.raises(ReleaseError, match="nothing below '## Unreleased'"):
        prepare_release(root, "0.2.0", "2026-12-02")
    log = (root / "CHANGELOG.md").read_text()
    (root / "CHANGELOG.md").write_text(log.replace("## Unreleased\n", "## Unreleased\n\n- More.\n"))
    for version, message in (("0.1.0", "after 0.1.0"), ("0.0.10", "after 0.1.0"), ("1.0", "three numbers")):
        with pytest.raises(ReleaseError, match=message):
            prepare_release(root, version, "2026-12-02")
    prepare_release(root, "0.10.0", "2026-12-02")
    assert release_notes(root, "v0.10.0").endswith("- More.\n")
    assert "### Added\n\n- A thing." in (root / "CHANGELOG.md").read_text()  # the older notes stay


def test_a_release_without_notes_is_refused(tmp_path):
    root = project(tmp_path, log="## Unreleased\n\n## 0.1.0: 2026-11-28\n\n## 0.0.1: 2026-01-01\n\n- Old.\n")
    with pytest.raises(ReleaseError, match="says nothing below"):
        release_notes(root, "v0.1.0")
