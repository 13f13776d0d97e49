"""Two at once: each ends right, or with one clear message."""

import os
import signal
import subprocess
import sys
import threading
import time

import pytest

from l2m_utils.book import locks
from l2m_utils.book.errors import BuildError
from l2m_utils.book.processes import token_of
from l2m_utils.project import PROJECT

HOLD = (
    "import sys, time; from pathlib import Path; from l2m_utils.book.locks import build_lock\n"
    "with build_lock(Path(sys.argv[1]), 'make book'):\n"
    "    print('held', flush=True); time.sleep(600)"
)


@pytest.fixture
def holder(tmp_path, monkeypatch):
    """Another process that builds in ``builds/one``."""
    monkeypatch.setattr(locks, "PATIENCE", 0.3)
    folder = tmp_path / "builds" / "one"
    process = subprocess.Popen(
        [sys.executable, "-c", HOLD, str(folder)], stdout=subprocess.PIPE, text=True, cwd=PROJECT
    )
    assert process.stdout.readline() == "held\n"
    yield process, folder
    process.kill()
    process.wait()
    process.stdout.close()


def test_a_second_build_of_a_folder_is_refused_and_one_of_another_is_not(holder):
    process, folder = holder
    message = f"one is in use .make book, process {process.pid}.; wait until it has ended"
    with pytest.raises(BuildError, match=message), locks.build_lock(folder, "make book"):
        pass
    with locks.build_lock(folder.with_name("two"), "make book"):
        pass


def test_cleaning_waits_for_no_build_and_removes_none(holder):
    process, folder = holder
    with pytest.raises(BuildError, match="a build below .*builds is running"), locks.clean_lock(folder.parent):
        pass
    process.kill()
    process.wait()
    refused = pytest.raises(BuildError, match="`make clean` is removing the builds")
    with locks.clean_lock(folder.parent), refused, locks.build_lock(folder, "make book"):
        pass
    with locks.build_lock(folder, "make book"):  # the lock file went with the rest; a new one is a new lock
        pass


@pytest.mark.parametrize("how", [signal.SIGKILL, signal.SIGTERM])
def test_a_lock_ends_with_the_process_that_holds_it(holder, how):
    process, folder = holder
    process.send_signal(how)
    process.wait()
    with locks.build_lock(folder, "make book"):
        pass


def test_a_build_waits_a_moment_for_what_a_killed_one_leaves(holder, monkeypatch):
    process, folder = holder
    monkeypatch.setattr(locks, "PATIENCE", 30.0)
    start = time.monotonic()
    killer = subprocess.Popen(["sh", "-c", f"sleep 0.5; kill -9 {process.pid}"])
    with locks.build_lock(folder, "make book"):
        assert time.monotonic() - start > 0.3
    killer.wait()


def test_a_build_that_waits_for_clean_begins_when_the_folder_is_gone(tmp_path, monkeypatch):
    monkeypatch.setattr(locks, "PATIENCE", 30.0)
    root, inside = tmp_path / "_build", threading.Event()
    root.mkdir()

    def clean():
        with locks.clean_lock(root):
            inside.set()
            time.sleep(0.5)
        root.rmdir()

    cleaner = threading.Thread(target=clean)
    cleaner.start()
    assert inside.wait(30)
    with locks.build_lock(root / "one", "make book") as lock:
        assert lock.path.exists()
    cleaner.join()


def test_a_lock_is_not_handed_on_to_children(tmp_path):
    with locks.build_lock(tmp_path / "one", "make book"):
        child = subprocess.Popen(["sleep", "60"], close_fds=False)
    try:
        with locks.build_lock(tmp_path / "one", "make book"):
            assert os.path.exists(f"/proc/{child.pid}")
    finally:
        child.kill()
        child.wait()


LATE = (
    "import sys, time; from l2m_utils.book.processes import end_with\n"
    "end_with(sys.argv[1]); print('works', flush=True); time.sleep(600)"
)


def start_late(token):
    """A process of a build that writes in its folder until the build is gone."""
    return subprocess.Popen([sys.executable, "-c", LATE, token], stdout=subprocess.PIPE, text=True, cwd=PROJECT)


def test_the_next_build_and_clean_wait_for_what_a_killed_build_left_writing(tmp_path, monkeypatch):
    """The lock of a killed build is free at once, while its kernels still write: cleaning once raced with them."""
    monkeypatch.setattr(locks, "PATIENCE", 0.2)
    folder = tmp_path / "builds" / "one"
    with locks.build_lock(folder, "make book") as lock:
        pass
    writer = os.open(locks.work_of(lock.path), os.O_RDONLY)
    locks.fcntl.flock(writer, locks.fcntl.LOCK_SH)
    for taken in (locks.build_lock(folder, "make book"), locks.clean_lock(folder.parent)):
        with pytest.raises(BuildError, match="processes of a build that was killed still write there"), taken:
            pass
    os.close(writer)
    with locks.clean_lock(folder.parent):
        pass


def test_a_process_that_comes_late_ends_though_another_build_holds_the_lock(tmp_path):
    folder = tmp_path / "builds" / "one"
    with locks.build_lock(folder, "make book") as lock:
        old = token_of(lock)
        early = start_late(old)
        assert early.stdout.readline() == "works\n"
    assert early.wait(20) == -signal.SIGKILL
    with locks.build_lock(folder, "make book"):
        late = start_late(old)
        assert late.stdout.read() == "" and late.wait(20) == -signal.SIGKILL
    early.stdout.close(), late.stdout.close()


def test_builds_and_cleaning_at_once_through_the_front_door(tiny):
    """A notebook that sleeps stands for a long build; beside it: the same build, another tier's text check, and clean."""
    tiny.notebook("first", "import time\nprint('asleep')\ntime.sleep(600)", parameters="offset = 0")
    first = tiny.start("build")
    try:
        assert first.stdout.readline().startswith("running ")
        again = tiny.run("build")
        assert again.returncode == 1 and "Traceback" not in again.stderr
        assert f"error: _build/smoke-texts is in use (make book, process {first.pid}); wait" in again.stderr
        other = tiny.run("corpus", tier="laptop")
        assert other.returncode == 0, other.stderr
        command = [sys.executable, "-m", "l2m_utils", "book", "clean"]
        clean = subprocess.run(command, cwd=tiny.home, env=tiny.environment(), capture_output=True, text=True)
        assert clean.returncode == 1 and "error: a build below _build is running" in clean.stderr
        assert (tiny.build / "plan.json").exists() and first.poll() is None
    finally:
        first.kill()
        first.communicate()
    # At once: the runner and the kernel of the killed build have not ended yet.
    clean = subprocess.run(command, cwd=tiny.home, env=tiny.environment(), capture_output=True, text=True)
    assert clean.returncode == 0 and not (tiny.home / "_build").exists(), clean.stderr
