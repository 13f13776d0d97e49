"""Files are whole or absent: what is kept is checked, made anew when it is damaged, and never half there."""

import hashlib
import json
import os
import subprocess
import sys
import threading
from concurrent.futures import ThreadPoolExecutor

import pytest

from l2m_utils import files
from l2m_utils.files import MANIFEST, OtherEntry, checksum, is_kept, kept

KEY = {"name": "x", "sizes": (1, 2)}  # a tuple is a list in JSON


def write(value, folder):
    for number, text in enumerate(value):
        (folder / f"{number}.txt").write_text(text)


def read(folder):
    return [path.read_text() for path in sorted(folder.glob("*.txt"))]


def entry(folder, value=("one", "two"), key=KEY):
    return kept(folder, key, lambda: value, read, write)


def refuse():
    pytest.fail("made a second time")


def test_checksum_is_sha256_of_everything_in_order(tmp_path):
    (tmp_path / "f").write_bytes(b"file")
    assert checksum("ä", b"b", tmp_path / "f", iter([b"c", b"d"])) == hashlib.sha256("äbfilecd".encode()).hexdigest()


def test_it_is_made_once(tmp_path):
    assert entry(tmp_path / "a" / "x") == ["one", "two"] == kept(tmp_path / "a" / "x", KEY, refuse, read, write)
    manifest = json.loads((tmp_path / "a" / "x" / MANIFEST).read_text())
    assert manifest["files"]["0.txt"] == checksum("one") and manifest["key"]["sizes"] == [1, 2]
    assert [path.name for path in (tmp_path / "a").iterdir()] == ["x"]


@pytest.mark.parametrize("name", ["0.txt", "1.txt", MANIFEST])
@pytest.mark.parametrize("damage", ["cut", "changed", "gone"])
def test_damage_is_found_and_mended(name, damage, tmp_path):
    entry(tmp_path / "x")
    path = tmp_path / "x" / name
    content = path.read_bytes()
    if damage == "gone":
        path.unlink()
    else:
        path.write_bytes(content[:-3] if damage == "cut" else bytes([content[0] ^ 1]) + content[1:])
    assert not is_kept(tmp_path / "x", KEY)
    assert entry(tmp_path / "x") == ["one", "two"] and is_kept(tmp_path / "x", KEY)
    assert path.read_bytes() == content


@pytest.mark.parametrize(
    "text", ["[]", "3", "{}", '{"key": {"name": "x", "sizes": [1, 2]}, "files": 3}', '{"key": 3, "files": {}}']
)
def test_a_manifest_that_is_none_counts_as_damage(text, tmp_path):
    entry(tmp_path / "x")
    (tmp_path / "x" / MANIFEST).write_text(text)
    assert entry(tmp_path / "x") == ["one", "two"]


def test_an_entry_of_another_key_is_not_read_and_not_overwritten(tmp_path):
    entry(tmp_path / "x")
    with pytest.raises(OtherEntry, match=r"sizes: \[1, 2\] there, \[1, 3\] here"):
        entry(tmp_path / "x", ("three",), {"name": "x", "sizes": [1, 3]})
    assert entry(tmp_path / "x") == ["one", "two"]


@pytest.mark.parametrize("where", ["build", "write"])
def test_a_killed_process_leaves_nothing_that_counts(where, tmp_path):
    def killed(value, folder):
        write(value, folder)
        raise KeyboardInterrupt

    def build():
        if where == "build":
            raise KeyboardInterrupt
        return ("half",)

    with pytest.raises(KeyboardInterrupt):
        kept(tmp_path / "x", KEY, build, read, killed)
    assert list(tmp_path.iterdir()) == [] and entry(tmp_path / "x") == ["one", "two"]


def test_two_at_once_agree(tmp_path):
    both = threading.Barrier(2)

    def run(text):
        def build():
            both.wait(timeout=20)  # both start before either has finished
            return (text,)

        return kept(tmp_path / "x", KEY, build, read, write)

    with ThreadPoolExecutor(2) as pool:
        first, second = pool.map(run, ("one", "two"))
    assert first == second and [path.name for path in tmp_path.iterdir()] == ["x"]


def test_a_full_disk_is_said_and_leaves_nothing(tmp_path, monkeypatch):
    def full(*_):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(files.os, "fsync", full)
    with pytest.raises(OSError, match="No space left"):
        entry(tmp_path / "x")
    assert list(tmp_path.iterdir()) == []


@pytest.mark.skipif(os.name != "posix", reason="permissions of POSIX")
def test_others_may_read_what_is_kept(tmp_path):
    entry(tmp_path / "x")
    assert (tmp_path / "x").stat().st_mode & 0o755 == 0o755


def test_a_whole_entry_of_another_process_is_never_removed(tmp_path, monkeypatch):
    """The other one moves its entry into place between our look and our move: its files stay, and both read them."""
    folder = tmp_path / "x"
    looks = []

    def looking(*words):
        found = is_kept(*words)
        if not looks:  # the first look finds nothing; then the other process is done
            looks.append(found)
            kept(folder, KEY, lambda: ("one", "two"), read, write)
            looks.append((folder / MANIFEST).stat().st_ino)
        return found

    monkeypatch.setattr(files, "is_kept", looking)
    assert files.kept(folder, KEY, lambda: ("one", "two"), read, write) == ["one", "two"]
    assert looks == [False, (folder / MANIFEST).stat().st_ino] and not list(tmp_path.glob(".x.*"))


def test_a_piece_of_work_is_claimed_by_one_process_and_freed_when_it_dies(tmp_path):
    holds = "from pathlib import Path; import sys; from l2m_utils.files import claims\n"
    holds += "with claims(Path(sys.argv[1])) as claim, claim('one', False) as mine: print(mine, flush=True); input()"
    other = subprocess.Popen(
        [sys.executable, "-c", holds, str(tmp_path)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )
    assert other.stdout.readline() == "True\n"
    with files.claims(tmp_path) as claim:
        with claim("one", wait=False) as mine, claim("another", wait=False) as free:
            assert (mine, free) == (False, True)
        other.kill()
        other.communicate()
        with claim("one", wait=True) as mine:
            assert mine
