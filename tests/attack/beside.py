"""What happens beside a build and around it: other builds, cleaning and tests at once, disks, clocks, names, and what a user's shell sets."""

from __future__ import annotations

import os
import random
import shutil
import subprocess
import sys
import time
from collections.abc import Callable

from books import differences, made, project_of, start_make
from tally import Tally
from tiny_project import TinyProject

from l2m_utils.project import PROJECT

NAMES = (
    "1984",
    "1e5",
    "a: b",
    "it's",
    'a "quoted" one',
    "{x}",
    "[x]",
    "$HOME",
    "a\\b",
    "%s",
    "#1",
    "~",
    "-x",
    "null",
    "中文",
    "Ελληνικά",
    "é",
    "a*b?",
)
# A project folder holds no "/", and no ":" before a virtual environment, which Python refuses; the build itself takes it.
PLACES = ("with a space", "it's", "{x}", "[x]", "$HOME", "1984", "1e5", "a: b", "中文", '"', "%20", "#1")


def one_line(done: subprocess.CompletedProcess, *words: str) -> None:
    """A build ended with one message, of two lines at most, that says one of ``words``."""
    assert done.returncode == 1, f"exit code {done.returncode}"
    assert "Traceback" not in done.stderr and len(done.stderr.splitlines()) <= 2, done.stderr
    assert any(word in done.stderr for word in words), done.stderr


def fresh(project: TinyProject, part: str = "") -> None:
    """Forget the build, or a part of it."""
    shutil.rmtree(project.build / part, ignore_errors=True)


def whole_again(project: TinyProject, whole: dict[str, bytes]) -> None:
    """The next build succeeds and leaves what an undisturbed one leaves."""
    done = project.run("build")
    assert done.returncode == 0, done.stderr
    assert not (wrong := differences(made(project), whole)), f"differ: {wrong[:3]}"


def two_of_one(project: TinyProject, whole: dict, draw: random.Random) -> None:
    fresh(project, "executed")
    first = project.start("build")
    time.sleep(draw.uniform(0, 4))
    second = project.run("build")
    first.communicate()
    codes = sorted((first.returncode, second.returncode))
    assert codes in ([0, 0], [0, 1]), codes
    if second.returncode:
        one_line(second, "is in use")
    whole_again(project, whole)


def two_tiers(project: TinyProject, whole: dict, draw: random.Random) -> None:
    fresh(project, "executed")
    other = project.start("build", tier=draw.choice(("laptop", "gpu", "cluster")))
    time.sleep(draw.uniform(0, 4))
    whole_again(project, whole)
    said = other.communicate()[1]
    assert other.returncode == 0, said


def clean(project: TinyProject) -> subprocess.CompletedProcess:
    command = [sys.executable, "-m", "l2m_utils", "book", "clean"]
    return subprocess.run(command, cwd=project.home, env=project.environment(), capture_output=True, text=True)


def clean_during(project: TinyProject, whole: dict, draw: random.Random) -> None:
    fresh(project, "executed")
    build = project.start("build")
    time.sleep(draw.uniform(2, 8))
    done = clean(project)
    said = build.communicate()[1]
    assert build.returncode == 0, said
    one_line(done, "is running")
    assert not differences(made(project), whole)


def clean_after_a_kill(project: TinyProject, whole: dict, draw: random.Random) -> None:
    fresh(project, "executed")
    make = start_make(project)
    time.sleep(draw.uniform(2, 12))
    make.kill()
    done = clean(project)
    if done.returncode:
        one_line(done, "is running", "still write")
    else:
        time.sleep(1)
        assert not (project.home / "_build").exists(), "something was written after cleaning"
    make.wait()
    whole_again(project, whole)


def tests_during(project: TinyProject, whole: dict, draw: random.Random) -> None:
    fresh(project, "executed")
    project.write("tests/test_files.py", (PROJECT / "tests/test_files.py").read_text())
    project.write("tests/test_records.py", (PROJECT / "tests/test_records.py").read_text())
    build = project.start("build")
    command = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", "tests"]
    tests = subprocess.run(command, cwd=project.home, env=project.environment(), capture_output=True, text=True)
    said = build.communicate()[1]
    shutil.rmtree(project.home / "tests")
    assert tests.returncode == 0, tests.stdout[-300:]
    assert build.returncode == 0, said
    assert not differences(made(project), whole)


def in_namespace(project: TinyProject, prepare: str, *words: str) -> subprocess.CompletedProcess:
    """A build in a mount namespace of its own, which ends with it; skips, as survived, where the system allows none."""
    script = f'{prepare} || exit 99; exec "$@"'
    command = ["unshare", "--mount", "sh", "-c", script, "sh", *project.command("build")]
    where = {**project.environment(), "HERE": str(project.home), **dict(word.split("=", 1) for word in words)}
    return subprocess.run(command, cwd=project.home, env=where, capture_output=True, text=True)


def full_disk(project: TinyProject, whole: dict, draw: random.Random) -> None:
    (project.home / "_build").mkdir(exist_ok=True)
    size = draw.choice((4, 16, 64, 256, 1024, 4096, 8192))
    done = in_namespace(project, 'mount -t tmpfs -o "size=${SIZE}k" tmpfs "$HERE/_build"', f"SIZE={size}")
    if done.returncode == 99:
        raise AssertionError("this system allows no namespace: not tried")
    if done.returncode:
        assert "Traceback" not in done.stderr and "no space left" in done.stderr.lower(), f"{size} kB: {done.stderr}"
    whole_again(project, whole)


def read_only(project: TinyProject, whole: dict, draw: random.Random) -> None:
    if draw.random() < 0.5:
        fresh(project)
    else:
        fresh(project, "executed")
    done = in_namespace(project, 'mount --bind "$HERE" "$HERE" && mount -o remount,ro,bind "$HERE"')
    one_line(done, "Read-only file system")
    whole_again(project, whole)


def clock_backwards(project: TinyProject, whole: dict, draw: random.Random) -> None:
    """All that there is was written tomorrow."""
    tomorrow = time.time() + 86_400
    for path in project.home.rglob("*"):
        if path.is_file():
            os.utime(path, (tomorrow, tomorrow))
    path = project.home / "l2m_utils/stats/tiny_late.py"
    path.write_text("VALUE = 43\n")
    assert project.executed(project.run("build")) == {"first", "second"}
    path.write_text("VALUE = 41\n")
    whole_again(project, whole)


def corpus_name(project: TinyProject, whole: dict, draw: random.Random) -> None:
    name = draw.choice(NAMES)
    place = project.home / name
    shutil.copytree(project.home / "texts", place)
    try:
        words = project.command("build")
        words[words.index("--corpus") : words.index("--corpus") + 2] = [f"--corpus={name}"]
        done = subprocess.run(words, cwd=project.home, env=project.environment(), capture_output=True, text=True)
        assert done.returncode == 0, f"{name}: {done.stderr}"
        assert "running  part/text" in done.stdout
    finally:
        shutil.rmtree(place)


def project_path(project: TinyProject, whole: dict, draw: random.Random) -> None:
    old, build = project.home, project.build
    project.home = old.rename(old.with_name(draw.choice(PLACES)))
    project.build = project.home / build.relative_to(old)
    fresh(project, draw.choice(("", "executed")))
    try:
        whole_again(project, whole)
    finally:
        project.home.rename(old)
        project.home, project.build = old, build


def foreign_shell(project: TinyProject, whole: dict, draw: random.Random) -> None:
    """Modules, kernels, start-up files and a locale of somebody else."""
    foreign = project.home.parent / "foreign"
    for name in ("yaml", "jupytext", "nbformat", "pandas", "sphinx", "snakemake", "encodings_", "sitecustomize"):
        (foreign / "modules").mkdir(parents=True, exist_ok=True)
        (foreign / "modules" / f"{name}.py").write_text(
            "raise SystemExit('a foreign module')\n" if name != "sitecustomize" else ""
        )
    for name in ("python3", "l2m-book"):
        kernel = foreign / "jupyter" / "kernels" / name / "kernel.json"
        kernel.parent.mkdir(parents=True, exist_ok=True)
        kernel.write_text('{"argv": ["false"], "display_name": "x", "language": "python"}')
    start = foreign / "ipython" / "profile_default" / "startup" / "00.py"
    start.parent.mkdir(parents=True, exist_ok=True)
    start.write_text("raise SystemExit('a foreign start-up file')\n")
    (foreign / "matplotlibrc").write_text("font.size: 40\n")
    shell = {
        "PYTHONPATH": os.pathsep.join([str(project.home), str(foreign / "modules")]),
        "JUPYTER_PATH": str(foreign / "jupyter"),
        "IPYTHONDIR": str(foreign / "ipython"),
        "MATPLOTLIBRC": str(foreign / "matplotlibrc"),
        "PYTHONUTF8": "0",
        "PYTHONCOERCECLOCALE": "0",
        "LC_ALL": draw.choice(("C", "POSIX", "de_DE.ISO-8859-1", "nowhere")),
        "PYTHONHASHSEED": str(draw.randrange(1000)),
    }
    fresh(project)
    done = subprocess.run(
        project.command("build"), cwd=project.home, env={**os.environ, **shell}, capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr
    assert not (wrong := differences(made(project), whole)), f"differ: {wrong[:3]}"


CASES: dict[str, Callable[[TinyProject, dict, random.Random], None]] = {
    "at once: two builds of one tier": two_of_one,
    "at once: builds of two tiers": two_tiers,
    "at once: clean during a build": clean_during,
    "at once: clean after a killed build": clean_after_a_kill,
    "at once: tests during a build": tests_during,
    "around: full disk": full_disk,
    "around: read-only project": read_only,
    "around: clock backwards": clock_backwards,
    "around: name of a corpus": corpus_name,
    "around: path of the project": project_path,
    "around: a foreign shell": foreign_shell,
}


def attack(number: int, seed: int) -> list[dict]:
    """``number`` of the cases above, in turn from the ``seed`` on."""
    draw, tally, names = random.Random(seed), Tally(), list(CASES)
    with project_of() as (project, whole, _):
        for turn in range(number):
            kind = names[(seed * number + turn) % len(names)]
            with tally.attempt(kind, f"try {turn} of seed {seed}"):
                CASES[kind](project, whole, draw)
            if tally.rows()[-1]["lost"]:
                project.run("build")
    return tally.rows()
