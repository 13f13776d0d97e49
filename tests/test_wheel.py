"""The library works from a wheel: away from any checkout, and nothing is written beside the package."""

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
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
def installed(tmp_path_factory):
    """A folder into which the wheel was installed, built of a copy so that the checkout stays clean."""
    place = tmp_path_factory.mktemp("wheel")
    source = place / "source"
    shutil.copytree(ROOT / "l2m_utils", source / "l2m_utils", ignore=shutil.ignore_patterns("__pycache__"))
    for name in ("pyproject.toml", "README.md", "LICENSE"):
        shutil.copy(ROOT / name, source)
    built = [*PIP, "wheel", "--no-deps", "--no-build-isolation", "--no-index", "--wheel-dir", place / "dist", source]
    (wheel,) = subprocess.run(built, check=True, cwd=place) and (place / "dist").glob("*.whl")
    subprocess.run([*PIP, "install", "--no-deps", "--no-index", "--target", place / "site", wheel], check=True)
    shutil.rmtree(source)
    return place / "site"


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
