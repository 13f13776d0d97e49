"""Run in a tiny project: apply each change in turn, print what became stale and whether the quick check saw it, and change back."""

import json
import os
import shutil
import sys
from pathlib import Path

from l2m_utils.book import corpus, engine, fingerprints, imports, plan, source
from l2m_utils.project import PROJECT
from l2m_utils.text.corpora import locate
from l2m_utils.text.files import files_of

FOLDER = PROJECT / "_build" / "smoke-texts"


def look() -> dict:
    for cached in (source.read_notebook, imports._imports_of):
        cached.cache_clear()
    place, hashes = locate("texts"), fingerprints.Hashes()
    quick = fingerprints.changes(FOLDER, place.source, files_of(place.path))
    planned = plan.load_plan("smoke")
    text = corpus.ensure(FOLDER, place, hashes, plan.of_text(planned))
    jobs = engine.plan_jobs(planned, "texts", text, FOLDER, hashes, recompute=False)
    return {
        "stale": sorted(name.split("/")[1] for name in engine.stale(FOLDER, jobs, hashes)),
        "changed": None if quick is None else sorted(quick),
    }


def changed(kind: str, name: str, content: str) -> None:
    path = PROJECT / name
    if kind == "append":
        path.write_text(path.read_text() + content)
    elif kind == "replace":
        old, new = content.split(" -> ")
        assert old in path.read_text()
        path.write_text(path.read_text().replace(old, new))
    elif kind == "remove":
        shutil.rmtree(path) if path.is_dir() else path.unlink()
    elif kind == "rename":
        path.rename(path.with_name(content))
    elif kind == "copy":
        shutil.copyfile(path, path.with_name(content))
    elif kind == "flip":  # one byte, size and times as they were
        data, found = bytearray(path.read_bytes()), path.stat()
        data[len(data) // 2] ^= 1
        path.write_bytes(data)
        os.utime(path, ns=(found.st_atime_ns, found.st_mtime_ns))
    elif kind == "touch":
        path.touch()


def main() -> None:
    for change in json.load(sys.stdin):
        kind, name, content = change
        kept = Path(sys.argv[1]) / "kept"
        top = PROJECT / (Path(name).parent if kind != "remove" or Path(name).suffix else name)
        shutil.copytree(top, kept, copy_function=shutil.copy2)
        before = sorted(top.iterdir())
        changed(kind, name, content)
        print(json.dumps(look()), flush=True)
        for path in set(top.parent.iterdir() if not top.exists() else top.iterdir()) - set(before):
            if top.exists() and path.is_file():
                path.unlink()
        shutil.copytree(kept, top, copy_function=shutil.copy2, dirs_exist_ok=True)
        shutil.rmtree(kept)
    print(json.dumps(look()))


if __name__ == "__main__":
    main()
