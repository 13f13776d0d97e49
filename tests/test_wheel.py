"""The library works from a wheel: away from any checkout, nothing is written beside the package, and the sdist gives the same wheel."""

import json
import os
import re
import shutil
import subprocess
import sys
import tarfile
import zipfile
from email import message_from_string
from pathlib import Path

import pytest

from l2m_utils import __version__

ROOT = Path(__file__).resolve().parents[1]
MAKEFILE = (ROOT / "Makefile").read_text()
PIP = [sys.executable, "-m", "pip", "--quiet", "--disable-pip-version-check"]
USE = """
import json, sys
from l2m_utils import project
from l2m_utils.records import Recorder
from l2m_utils.text.corpora import load
from l2m_utils.text.tokens import encode_corpus, train_bpe

texts = load(sys.argv[1])
tokens = encode_corpus(train_bpe([d.text for d in texts], 260), texts)
run = Recorder("theory/example", "smoke")
run.value("tokens", len(tokens.ids), unit="tokens")
print(json.dumps([project.__file__, str(project.CACHE), str(run.folder), project.commit()]))
"""


@pytest.fixture(scope="module")
def built(tmp_path_factory):
    """What `make dist` leaves in a copy of the checkout, so that the checkout stays clean: the sdist, and the wheel that is built of it."""
    place = tmp_path_factory.mktemp("dist")
    source = place / "source"
    shutil.copytree(ROOT / "l2m_utils", source / "l2m_utils", ignore=shutil.ignore_patterns("__pycache__"))
    (source / "tests").mkdir()
    (source / "tests" / "test_nothing.py").write_text("")  # what setuptools takes along if nobody says no
    for path in ROOT.iterdir():
        if path.is_file() and path.suffix != ".log":
            shutil.copy(path, source)
    (command,) = re.findall(r"\$\(RUN\) -m (uv build .*?) --python .*?\n", MAKEFILE.replace("\\\n", " "))
    words = [*command.split(), "--python", sys.executable, "--out-dir", place / "dist", source]
    environment = os.environ | {"SOURCE_DATE_EPOCH": "315532800"}
    subprocess.run([sys.executable, "-m", *words], check=True, cwd=place, env=environment)
    shutil.rmtree(source)
    (wheel,), (sdist,) = (place / "dist").glob("*.whl"), (place / "dist").glob("*.tar.gz")
    return wheel, sdist


@pytest.fixture(scope="module")
def installed(built, tmp_path_factory):
    """A folder into which the wheel was installed."""
    site = tmp_path_factory.mktemp("wheel") / "site"
    subprocess.run([*PIP, "install", "--no-deps", "--no-index", "--target", site, built[0]], check=True)
    return site


def run(words, installed, cwd, **variables):
    """A process that sees the installed library only, with a home of its own."""
    hidden = {"L2M_HOME", "L2M_CACHE", "XDG_DATA_HOME"}
    kept = {name: value for name, value in os.environ.items() if name not in hidden}
    environment = kept | {"PYTHONPATH": str(installed), "PYTHONDONTWRITEBYTECODE": "1", "HOME": str(cwd)} | variables
    done = subprocess.run([sys.executable, *words], cwd=cwd, capture_output=True, text=True, env=environment)
    assert done.returncode == 0, done.stderr[-2000:]
    return done.stdout


def everything(folder):
    return {path: path.stat().st_mtime_ns for path in folder.rglob("*")}


@pytest.mark.skipif(os.name != "posix", reason="a home folder is another variable elsewhere")
def test_nothing_is_written_beside_an_installed_package(installed, tmp_path):
    assert (installed / "l2m_utils" / "py.typed").exists()
    before = everything(installed)
    (tmp_path / "texts.txt").write_text("One fish. Two fish. Red fish.")
    file, cache, records, commit = json.loads(run(["-c", USE, "texts.txt"], installed, tmp_path).splitlines()[-1])
    assert Path(file).is_relative_to(installed)
    home = tmp_path / ".local" / "share" / "l2m"
    assert Path(cache) == home / ".cache" and Path(records).is_relative_to(home) and commit.startswith("l2m-book ")
    assert len(list((home / ".cache" / "tokens").iterdir())) == 1
    assert (Path(records) / "theory" / "example" / "values" / "tokens.json").exists()
    named = run(["-c", USE, "texts.txt"], installed, tmp_path, L2M_HOME="here", L2M_CACHE=str(tmp_path / "there"))
    assert json.loads(named.splitlines()[-1])[1:3] == [
        str(tmp_path / "there"),
        str(tmp_path / "here" / "_build/interactive/records"),
    ]
    assert len(list((tmp_path / "there" / "tokens").iterdir())) == 1
    sizes = {"model_type": "gpt2", "n_layer": 3, "n_embd": 8, "n_head": 2}
    (tmp_path / "config.json").write_text(json.dumps(sizes))
    assert "dim z = 3 × 16 × L" in run(["-m", "l2m_utils", "state", str(tmp_path)], installed, tmp_path)
    assert everything(installed) == before


def test_wheel_and_sdist_hold_the_library_with_its_licence_and_nothing_else(built):
    wheel, sdist = built
    library = {path.relative_to(ROOT).as_posix() for path in (ROOT / "l2m_utils").rglob("*.py")} | {
        "l2m_utils/py.typed"
    }
    with zipfile.ZipFile(wheel) as file:
        names = set(file.namelist())
        (about,) = (name.removesuffix("/METADATA") for name in names if name.endswith("/METADATA"))
        metadata = message_from_string(file.read(f"{about}/METADATA").decode())
        assert {name for name in names if not name.startswith(about)} == library
        assert file.read(f"{about}/licenses/LICENSE") == (ROOT / "LICENSE").read_bytes()
        assert b"l2m = l2m_utils.cli.main:main" in file.read(f"{about}/entry_points.txt")
        assert all(file.read(name) == (ROOT / name).read_bytes() for name in library)
    assert (metadata["Name"], metadata["Version"]) == ("l2m-book", __version__)
    assert metadata["License-Expression"] == "MIT" and metadata["Requires-Python"] == ">=3.11.5"
    with tarfile.open(sdist) as tar:
        inside = {name.partition("/")[2] for name in tar.getnames() if name.endswith((".py", ".typed"))}
        others = {name.partition("/")[2] for name in tar.getnames()} - inside
    assert inside == library
    assert {"CITATION.cff", "CHANGELOG.md", "LICENSE", "requirements.lock", "requirements-torch.txt"} <= others
    assert not {name for name in others if name.startswith(("tests", "results", "book", "notebooks"))}


SAY = """
import contextlib, io, json, sys
from l2m_utils.cli.main import main

said = []
for words in json.loads(sys.argv[1]):
    with contextlib.redirect_stdout(io.StringIO()) as out, contextlib.redirect_stderr(io.StringIO()) as err:
        try:
            code = main(words)
        except SystemExit as ended:
            code = ended.code
    said.append([code, out.getvalue(), err.getvalue()])
print(json.dumps(said))
"""


@pytest.mark.skipif(os.name != "posix", reason="a home folder is another variable elsewhere")
def test_commands_work_or_say_that_they_need_a_checkout(installed, tmp_path):
    words = [["--version"], ["--help"], ["book", "status"], ["labs"], ["gaussian", "--list"]]
    said = json.loads(run(["-c", SAY, json.dumps(words)], installed, tmp_path))
    assert said[0] == [0, f"l2m {__version__}\n", ""]
    assert said[1][0] == 0 and "l2m measure" in said[1][1]
    for (code, _, error), words in zip(said[2:], ("works in", "they lie in", "they lie in")):
        assert code == 1 and f"{words} a checkout of the project" in error and error.count("\n") == 1


MEASURE = """
import sys
from tiny_model import tiny_reader
from l2m_utils.cli.main import main

reader, tokenizer = tiny_reader()
reader.model.save_pretrained("model"), tokenizer.save_pretrained("model")
words = "measure --model model --corpus texts --folder scores --max-length 64 --ratios 2 --blocks-per-document 2"
sys.exit(main(words.split()))
"""


@pytest.mark.skipif(os.name != "posix", reason="a home folder is another variable elsewhere")
def test_a_model_is_measured_away_from_a_checkout(installed, tmp_path):
    (tmp_path / "texts").mkdir()
    for number in range(4):
        sentences = [
            f"The {word} number {number} meets word {len(word)}."
            for word in ("one", "two", "three", "four", "five", "six")
        ]
        (tmp_path / "texts" / f"{number}.txt").write_text(" ".join(sentences))
    shutil.copy(ROOT / "tests" / "scoring" / "tiny_model.py", tmp_path)
    said = run(["-c", MEASURE], installed, tmp_path, OMP_NUM_THREADS="1")
    assert "vclub" in said.lower() and (tmp_path / "scores").is_dir()
