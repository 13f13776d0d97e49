"""An archive has one form, names what is damaged, and is checked without a checkout; faults are made here one by one."""

import io
import json
import os
import shutil
import struct
import subprocess
import sys
import zipfile
import zlib

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from l2m_utils.cli.main import main
from l2m_utils.files import checksum
from l2m_utils.project import PROJECT
from l2m_utils.release.archive import (
    about_release,
    archive_files,
    folder_files,
    refuse_paths,
    source_files,
    write_archive,
)
from l2m_utils.release.check import check_archive
from l2m_utils.release.crate import CHECKSUMS, METADATA, files_of_crate
from l2m_utils.release.errors import ReleaseError
from l2m_utils.release.stored_zip import scan_zip, stored_zip, unsafe, write_stored_zip

CONTENTS = {
    "source/l2m_utils/a.py": b"x = 1\n",
    "source/results/laptop/values.json": b'{"value": 0.8}\n',
    "source/run": b"#!/bin/sh\n",
    "site/index.html": b"<p>\xc3\xa4</p>",
    "site/empty.css": b"",
    "sbom.cdx.json": b"{}\n",
    "licences.md": b"# Licences\n",
}


@pytest.fixture(scope="module")
def whole():
    """The bytes of a small archive."""
    return stored_zip(archive_files(about_release(PROJECT, "0" * 40, {}), CONTENTS))


def check(path, content, **options):
    path.write_bytes(content)
    return check_archive(path, **options)


def test_an_archive_is_whole_as_a_file_and_unpacked_by_any_program(tmp_path, whole):
    found = check(tmp_path / "a.zip", whole, digest=checksum(whole))
    assert not found.faults and found.files == len(CONTENTS) + 3 and found.commit == "0" * 40
    assert found.title.startswith("L²M, executable") and found.version
    with zipfile.ZipFile(tmp_path / "a.zip") as file:  # not our reader
        assert file.testzip() is None and file.namelist() == sorted(file.namelist())
        file.extractall(tmp_path / "unpacked")
        modes = {one.filename: one.external_attr >> 16 for one in file.infolist()}
    assert modes["source/run"] == 0o100755 and modes["licences.md"] == 0o100644
    assert not check_archive(tmp_path / "unpacked").faults
    done = subprocess.run(["sha256sum", "--check", "--strict", "--quiet", CHECKSUMS], cwd=tmp_path / "unpacked")
    assert done.returncode == 0
    assert stored_zip(dict(reversed(archive_files(about_release(PROJECT, "0" * 40, {}), CONTENTS).items()))) == whole


@settings(max_examples=150, deadline=None)
@given(data=st.data())
def test_any_changed_byte_is_found(tmp_path_factory, whole, data):
    place = data.draw(st.integers(0, len(whole) - 1))
    other = data.draw(st.integers(1, 255))
    path = tmp_path_factory.mktemp("flip") / "a.zip"
    path.write_bytes(whole[:place] + bytes([whole[place] ^ other]) + whole[place + 1 :])
    try:
        assert check_archive(path).faults
    except ReleaseError as error:  # the first bytes say that it is a zip file
        assert place < 4 and "begins with" in str(error)


@settings(max_examples=40, deadline=None)
@given(data=st.data())
def test_what_is_cut_off_or_appended_is_found(tmp_path_factory, whole, data):
    path = tmp_path_factory.mktemp("cut") / "a.zip"
    path.write_bytes(whole[: data.draw(st.integers(4, len(whole) - 1))])
    assert check_archive(path).faults
    path.write_bytes(whole + data.draw(st.binary(min_size=1, max_size=9)))
    assert check_archive(path).faults


def test_a_damaged_file_is_named_once_for_each_way_to_see_it(tmp_path, whole):
    faults = check(tmp_path / "a.zip", whole.replace(b"<p>\xc3\xa4", b"<p>\xc3\xa5")).faults
    assert all(fault.startswith("site/index.html: ") for fault in faults) and len(faults) == 3
    faults = check(tmp_path / "a.zip", whole, digest="0" * 64).faults
    assert faults == (f"the whole file: SHA-256 {checksum(whole)}, expected {'0' * 64}",)


def unlisted(**changes):
    """An archive of the right form whose lists and files differ: ``None`` removes a file, words replace or add one."""
    files = archive_files(about_release(PROJECT, "0" * 40, {}), CONTENTS)
    for name, content in changes.items():
        files.pop(name) if content is None else files.update({name: content})
    return stored_zip(files)


@pytest.mark.parametrize(
    ("changes", "faults"),
    [
        ({"site/more.js": b"1"}, {"site/more.js: not listed", f"site/more.js: not what {METADATA} says of it"}),
        ({"licences.md": None}, {"licences.md: missing", f"licences.md: not what {METADATA} says of it"}),
        (
            {"licences.md": b"# Others\n"},
            {"licences.md: damaged (SHA-256 differs)", f"licences.md: not what {METADATA} says of it"},
        ),
        ({CHECKSUMS: None}, {f"{CHECKSUMS}: missing, so nothing says what the files should be"}),
        ({CHECKSUMS: b"nonsense"}, {f"{CHECKSUMS}: damaged (expected a checksum, two spaces and a name in each line)"}),
        (
            {METADATA: b"[" * 100_000},
            {f"{METADATA}: no JSON that can be read", f"{METADATA}: damaged (SHA-256 differs)"},
        ),
    ],
    ids=["added", "lost", "replaced", "no sums", "bad sums", "deep metadata"],
)
def test_lists_and_files_that_differ(tmp_path, changes, faults):
    assert set(check(tmp_path / "a.zip", unlisted(**changes)).faults) == faults


def test_metadata_that_lie_are_found_even_if_the_sums_agree(tmp_path):
    files = archive_files(about_release(PROJECT, "0" * 40, {}), CONTENTS)
    for old, new in ((b'"contentSize": "6"', b'"contentSize": "7"'), (b'"hasPart"', b'"has"'), (b"/1.2", b"/9.9")):
        changed = files | {METADATA: files[METADATA].replace(old, new)}
        assert changed[METADATA] != files[METADATA]
        changed[CHECKSUMS] = files[CHECKSUMS].replace(
            checksum(files[METADATA]).encode(), checksum(changed[METADATA]).encode()
        )
        assert any(METADATA in fault for fault in check(tmp_path / "a.zip", stored_zip(changed)).faults), new


def foreign(names, method=zipfile.ZIP_STORED):
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", method) as file:
        for name, content in names:
            file.writestr(name, content)
    return buffer.getvalue()


def test_a_bomb_is_not_unfolded_and_nothing_leaves_the_folder(tmp_path):
    """What another program packed is refused at its first header; a name that climbs is named even in the right form."""
    bomb = foreign([("a", bytes(50_000_000))], zipfile.ZIP_DEFLATED)
    assert len(bomb) < 60_000 and "compressed" in check(tmp_path / "a.zip", bomb).faults[0]
    assert "damaged header" in check(tmp_path / "a.zip", foreign([("../evil", b"x")])).faults[0]
    header = struct.pack("<4s5H3I2H", b"PK\3\4", 20, 0x800, 0, 0, 33, zlib.crc32(b"x"), 1, 1, 7, 0) + b"../evil"
    assert "'../evil': a step up" in check(tmp_path / "a.zip", header + b"x").faults
    huge = struct.pack("<4s5H3I2H", b"PK\3\4", 20, 0x800, 0, 0, 33, 0, 2**32 - 1, 2**32 - 1, 1, 0) + b"a"
    assert "cut off" in check(tmp_path / "a.zip", huge).faults[0]
    assert os.listdir(tmp_path) == ["a.zip"]
    for name in ("../x", "/x", "a//b", "a/./b", "a\\b", "c:d", "a\nb", "a.", "", "e\u0301"):
        assert unsafe(name), name
        with pytest.raises(ReleaseError, match="cannot go into an archive"):
            stored_zip({name: b""})
    with pytest.raises(ReleaseError, match="A and a"):
        stored_zip({"a": b"", "A": b""})


def test_no_zip_file_and_wrong_digests_are_refused(tmp_path):
    with pytest.raises(ReleaseError, match=r"begins with b'\\x7fELF'"):
        check(tmp_path / "a.zip", b"\x7fELF....")
    with pytest.raises(ReleaseError, match="64 hex digits"):
        check(tmp_path / "a.zip", b"", digest="abc")
    assert scan_zip(write_stored_zip(tmp_path / "none.zip", {})).faults == []  # the form alone: nothing is in it
    assert check_archive(tmp_path / "none.zip").faults  # and no archive is without lists


def test_an_unpacked_archive_with_a_link_or_another_file_is_refused(tmp_path, whole):
    with zipfile.ZipFile(io.BytesIO(whole)) as file:
        file.extractall(tmp_path / "a")
    (tmp_path / "a/more").write_text("1")
    (tmp_path / "a/site/link").symlink_to("/etc/passwd")
    faults = check_archive(tmp_path / "a").faults
    assert "site/link: a link or no plain file" in faults and "more: not listed" in faults


def git(folder, *words):
    names = ["-c", "user.name=a", "-c", "user.email=a@b", "-c", "commit.gpgsign=false"]
    subprocess.run(["git", *names, *words], cwd=folder, check=True, capture_output=True)


@pytest.fixture
def clone(tmp_path):
    """A checkout in miniature, with everything that a release reads."""
    root = tmp_path / "some" / "clone"
    (root / "l2m_utils").mkdir(parents=True)
    for name in (
        "CITATION.cff",
        "CHANGELOG.md",
        "l2m_utils/__init__.py",
        "requirements.lock",
        "requirements-torch.txt",
    ):
        shutil.copy(PROJECT / name, root / name)
    (root / "results").mkdir()
    (root / "results" / "x.json").write_text("{}\n")
    git(root, "init", "-q")
    git(root, "add", ".")
    git(root, "commit", "-qm", "one")
    for name in ("site", "slides"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "index.html").write_text("<p>")
    return root


def test_the_same_commit_and_site_give_the_same_bytes(tmp_path, clone):
    options = {
        "report": "# Licences\n",
        "built": {"site": tmp_path / "site", "slides": tmp_path / "slides"},
        "settings": {"doi": "10.5281/zenodo.1", "repository": ""},
    }
    first = write_archive(clone, tmp_path / "one", **options).read_bytes()
    os.utime(clone / "CHANGELOG.md", (0, 0))
    path = write_archive(clone, tmp_path / "two", **options)
    assert path.read_bytes() == first and not check_archive(path).faults
    sums = scan_zip(path).sums
    assert {
        "source/results/x.json",
        "site/index.html",
        "slides/index.html",
        "sbom.cdx.json",
        "licences.md",
        "README.txt",
    } < set(sums)
    metadata = json.loads(scan_zip(path, keep=[METADATA]).kept[METADATA])
    assert set(files_of_crate(metadata)) == set(sums) - {METADATA, CHECKSUMS}
    assert "https://doi.org/10.5281/zenodo.1" in json.dumps(metadata) and str(tmp_path).encode() not in first


def test_what_is_not_committed_and_paths_of_the_machine_are_refused(tmp_path, clone):
    (tmp_path / "site" / "page.html").write_text(f"made in {clone}/x")
    with pytest.raises(ReleaseError, match=r"site/page.html: names a folder of this machine \(1 file"):
        write_archive(clone, tmp_path / "out", report="", built={"site": tmp_path / "site"})
    refuse_paths({"a": b"in /root of it"}, ["/root"])  # one step may be a word
    (clone / "new.py").write_text("")
    with pytest.raises(ReleaseError, match="1 file.s. differ from the commit, new.py first"):
        source_files(clone)
    with pytest.raises(ReleaseError, match="in a clone of the project"):
        source_files(tmp_path)
    (tmp_path / "site" / "link").symlink_to("index.html")
    with pytest.raises(ReleaseError, match="link in site is a link"):
        folder_files(tmp_path / "site")
    assert not (tmp_path / "out").exists()


def test_verify_says_what_it_found_and_needs_nothing_but_the_library(tmp_path, whole, capsys):
    (tmp_path / "a.zip").write_bytes(whole)
    script = "import sys; from l2m_utils.cli.main import main; code = main(['verify', 'a.zip']); heavy = {'numpy', 'torch', 'yaml', 'pandas'}; print(sorted(heavy & set(sys.modules))); sys.exit(code)"
    environment = os.environ | {"PYTHONPATH": str(PROJECT)}
    done = subprocess.run([sys.executable, "-c", script], cwd=tmp_path, env=environment, capture_output=True, text=True)
    assert done.returncode == 0 and done.stdout.splitlines()[-2:] == ["whole", "[]"], done.stderr
    (tmp_path / "a.zip").write_bytes(whole.replace(b"x = 1", b"x = 2"))
    assert main(["verify", str(tmp_path / "a.zip")]) == 1
    said = capsys.readouterr()
    assert "error: source/l2m_utils/a.py: damaged" in said.err and "3 thing(s) wrong" in said.out
    assert main(["verify", str(tmp_path / "none.zip")]) == 1 and "No such file" in capsys.readouterr().err
