"""Run in a small project whose book is built: damage a file of the build, print whether a build would see it, and put it back; a line for each seed."""

import contextlib
import io
import json
import os
import random
import sys
from pathlib import Path

sys.path[:0] = [str(Path(__file__).parent), str(Path(__file__).parents[1] / "book")]

from damage import spoil  # noqa: E402
from list_stale import FOLDER, look  # noqa: E402

PARTS = ("executed", "records", "seals", "status", "html", "")  # the last: notes in the folder itself


def seen(part: str, path: Path) -> tuple[bool, str]:
    """Whether the damage is found out, or can do no harm since the file is only a note that is made anew."""
    try:
        found = look()
    except Exception as error:  # noqa: BLE001 (a traceback is what must not be)
        return False, f"{type(error).__name__}: {error}"
    if part in ("executed", "records", "seals", "status"):
        name = path.relative_to(FOLDER / part).parts[1].partition(".")[0]
        return name in found["stale"] and found["changed"] != [], ""
    if part == "html":
        return bool(found["changed"]), ""
    return found["stale"] == [], "a note that is lost made work"


def main() -> None:
    """Damage after damage."""
    for (seed,) in json.load(sys.stdin):
        draw = random.Random(seed)
        part = draw.choice(PARTS)
        inside = FOLDER.glob("*.json") if part == "" else (FOLDER / part).rglob("*")
        path = draw.choice(sorted(path for path in inside if path.is_file() and path.name != "html.json"))
        old, times = path.read_bytes(), path.stat()
        kept = {each: each.read_bytes() for each in FOLDER.glob("*.json")}
        way = spoil(path, draw)
        if path.exists():
            os.utime(path, ns=(times.st_atime_ns, times.st_mtime_ns))
        with contextlib.redirect_stdout(io.StringIO()):
            found, said = seen(part, path)
        path.write_bytes(old)
        for each, content in kept.items():
            each.write_bytes(content)
        row = {
            "part": part or "notes",
            "file": path.relative_to(FOLDER).as_posix(),
            "way": way,
            "seen": found,
            "said": said,
        }
        print(json.dumps(row), flush=True)


if __name__ == "__main__":
    main()
