"""What a stage brings home: one zip file of JSON values and Parquet tables, renewed atomically while the stage runs.

A stage can be killed at any moment, and any part of it can fail: what is in the archive is then what was finished, with a
record of what failed.
"""

from __future__ import annotations

import importlib.metadata
import io
import json
import math
import platform
import time
import traceback
import zipfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pandas as pd

from l2m_utils.files import write_atomically
from l2m_utils.project import hardware

LARGEST = 16 * 2**20  # bytes of one file that travels back
PIECES = 2  # files ruler-1.parquet … of the scores of stage b
# Everything that a run leaves, whatever its stages: no more than eight files travel back.
FILES = (
    *(f"stage-{stage}.zip" for stage in "abcd"),
    *(f"ruler-{piece}.parquet" for piece in range(1, PIECES + 1)),
    "log.txt",
    "summary.json",
)


def versions() -> dict[str, str]:
    """Versions of what decides a result, of packages that are installed; nothing is imported for it.

    >>> "torch" in versions()
    True
    """
    found = {"python": platform.python_version()}
    for name in ("torch", "triton", "transformers", "tokenizers", "numpy", "pandas", "pyarrow"):
        try:
            found[name] = importlib.metadata.version(name)
        except importlib.metadata.PackageNotFoundError:
            continue
    return found


def plain(data: Any) -> Any:
    """``data`` as JSON can hold it: numbers of numpy and torch as Python's, what is not finite as ``None``.

    >>> import numpy as np
    >>> plain({"a": np.float32(0.5), "b": float("nan"), "c": (1, Path("x"))})
    {'a': 0.5, 'b': None, 'c': [1, 'x']}
    """
    if isinstance(data, dict):
        return {str(key): plain(value) for key, value in data.items()}
    if isinstance(data, (list, tuple)):
        return [plain(value) for value in data]
    if hasattr(data, "tolist"):
        return plain(data.tolist())
    if isinstance(data, float) and not math.isfinite(data):
        return None
    return data if isinstance(data, (bool, int, float, str, type(None))) else str(data)


class Archive:
    """The archive ``<folder>/stage-<name>.zip``; ``commit`` is that of the tree that runs, which may have no ``.git`` beside it.

    >>> import tempfile
    >>> archive = Archive(Path(tempfile.mkdtemp()), "x", commit="abc")
    >>> with archive.part("division"):
    ...     1 / 0
      division failed: ZeroDivisionError: division by zero
    >>> archive.json("answer", 42)
    >>> back = read(archive.flush())
    >>> back["answer"], back["failures"][0]["error"], back["meta"]["commit"]
    (42, 'ZeroDivisionError: division by zero', 'abc')
    """

    def __init__(self, folder: Path, stage: str, commit: str = "unknown", **about: Any):
        self.path = Path(folder) / f"stage-{stage}.zip"
        self.begun = time.time()
        self.about = {"stage": stage, "commit": commit, **about}
        self.entries: dict[str, bytes] = {}
        self.sent: dict[str, bytes] = {}  # the entries as they were in the last archive
        self.failures: list[dict] = []
        self.parts: dict[str, float] = {}

    def json(self, name: str, data: Any) -> None:
        """Keep ``data`` under ``name``, in place of what had that name."""
        self.entries[f"{name}.json"] = _json(data)

    def table(self, name: str, frame: pd.DataFrame) -> None:
        """Keep a table under ``name``; one without rows is left out."""
        if len(frame):
            self.entries[f"{name}.parquet"] = frame.to_parquet(index=False, compression="zstd")

    def fail(self, part: str, error: BaseException) -> None:
        """Keep what went wrong in ``part``."""
        tail = "".join(traceback.format_exception(error))[-4000:]
        self.failures.append({"part": part, "error": f"{type(error).__name__}: {error}"[:2000], "traceback": tail})
        print(f"  {part} failed: {type(error).__name__}: {str(error)[:300]}", flush=True)

    @contextmanager
    def part(self, name: str) -> Iterator[None]:
        """Run a part of the stage; an ``Exception`` becomes a record, and the stage goes on."""
        start = time.monotonic()
        try:
            yield
        except Exception as error:
            self.fail(name, error)
        self.parts[name] = round(time.monotonic() - start, 3)

    def flush(self) -> Path:
        """Write the archive; of one larger than what travels back the largest entries stay as they were in the last one, or out, and its failures name them.

        Raises ``ValueError`` if it would be too large without any entry; the last one then stays.
        """
        self.json(
            "meta",
            self.about
            | {
                "begun": self.begun,
                "seconds": time.time() - self.begun,
                "parts": self.parts,
                "hardware": hardware(),
                "versions": versions(),
            },
        )
        self.json("failures", self.failures)
        entries, faults = dict(self.entries), list(self.failures)
        while len(content := _zipped(entries)) > LARGEST:
            given = {fault["part"] for fault in faults} | {"meta.json", "failures.json"}
            rest = [name for name in entries if name not in given]
            if not rest:
                raise ValueError(
                    f"{self.path.name} would have {len(content):,} bytes, at most {LARGEST:,} travel back: keep less in its meta and failures"
                )
            name = max(rest, key=lambda name: len(entries[name]))
            size, before = len(entries.pop(name)), self.sent.get(name)
            if before is not None and len(before) < size:
                entries[name] = before
            what = "stays as it was in the last archive" if name in entries else "is left out"
            error = f"ValueError: {name} of {size:,} bytes {what}: the archive would have {len(content):,}, at most {LARGEST:,} travel back; keep fewer rows"
            faults.append({"part": name, "error": error, "traceback": ""})
            print(f"  {error.partition(': ')[2]}", flush=True)
            entries["failures.json"] = _json(faults)
        write_atomically(self.path, content)
        self.sent = entries
        return self.path


def _json(data: Any) -> bytes:
    return (json.dumps(plain(data), indent=1, sort_keys=True) + "\n").encode()


def _zipped(entries: dict[str, bytes]) -> bytes:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED) as file:
        for name, content in entries.items():
            file.writestr(name, content)
    return buffer.getvalue()


def read(path: Path) -> dict[str, Any]:
    """The entries of an archive by name: tables as data frames, the rest as JSON gives it.

    Raises ``ValueError`` for a file that is no such archive.
    """
    found: dict[str, Any] = {}
    try:
        with zipfile.ZipFile(path) as file:
            for name in file.namelist():
                stem, _, ending = name.rpartition(".")
                content = file.read(name)
                found[stem] = pd.read_parquet(io.BytesIO(content)) if ending == "parquet" else json.loads(content)
    except (OSError, zipfile.BadZipFile, ValueError) as error:
        raise ValueError(
            f"{path} is no archive of a stage ({error}); expected a zip file of JSON and Parquet"
        ) from error
    return found


class Rows:
    """Rows of a table, one JSON line each, safe against a kill at any moment."""

    def __init__(self, path: Path):
        self.path = path

    def add(self, **row: Any) -> None:
        """Write one row through to the file."""
        with open(self.path, "a") as stream:
            stream.write(json.dumps(plain(row)) + "\n")

    def read(self) -> list[dict]:
        """All whole rows so far."""
        lines = self.path.read_text().splitlines() if self.path.exists() else []
        return [json.loads(line) for line in lines if line.endswith("}")]
