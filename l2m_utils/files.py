"""Atomic writes: a killed process leaves the old file or the new one."""

from __future__ import annotations

import json
import os
import tempfile
from pathlib import Path
from typing import Any


def write_atomically(path: Path, content: bytes) -> Path:
    """Write ``content`` to ``path`` so that a killed process leaves the old file or the new one.

    Raises ``OSError`` (disk full, no permission), whose message names ``path``, and leaves no temporary file behind.
    """
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        handle, temporary = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.")
        try:
            with os.fdopen(handle, "wb") as stream:
                stream.write(content)
                stream.flush()
                os.fsync(stream.fileno())
            os.chmod(temporary, 0o644)
            os.replace(temporary, path)
        except BaseException:
            Path(temporary).unlink(missing_ok=True)
            raise
    except OSError as error:
        advice = "Free some space, or check its permissions and that its folder is one; then run again"
        raise OSError(
            error.errno, f"{path} cannot be written ({len(content):,} bytes): {error.strerror or error}. {advice}"
        ) from error
    return path


def write_json(path: Path, data: Any) -> Path:
    """Write ``data`` as JSON with sorted keys, atomically; NaN and infinities are refused."""
    text = json.dumps(data, indent=1, sort_keys=True, allow_nan=False, ensure_ascii=False)
    return write_atomically(path, (text + "\n").encode())
