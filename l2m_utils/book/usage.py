"""Whether what the cells of each notebook used is what the build believes that its page depends on."""

from __future__ import annotations

import json
from pathlib import Path

from l2m_utils.book.fingerprints import named
from l2m_utils.book.imports import modules
from l2m_utils.book.jobs import page_of
from l2m_utils.book.plan import Notebook
from l2m_utils.book.source import code_of


def check_usage(plan: dict[str, Notebook], folder: Path, corpus_files: list[Path]) -> list[str]:
    """What does not fit, a line each; empty when all is well.

    A module or file used and not declared would leave a page old when it changes.  A module that a plain import at the top of a file
    declares and that was not imported would mean that the declared imports are not those that Python runs.
    """
    known = modules("import l2m_utils.book.execute")
    wrong = []
    for name, notebook in plan.items():
        page = page_of(folder, name)
        if not page.exists():
            wrong.append(f"{name}: not executed in {named(folder)}")
            continue
        used = json.loads(page.read_text(encoding="utf-8"))["metadata"]["l2m"]
        code = code_of(notebook.path)
        declared = set(modules(code)) | set(known)
        wrong += [
            f"{name}: imported {module}, which is no declared input"
            for module in used["modules"]
            if module not in declared
        ]
        at_once = set(modules(code, functions=False)) - set(used["modules"])
        wrong += [
            f"{name}: {module} is declared by a top-level import, and was not imported" for module in sorted(at_once)
        ]
        files = {named(path) for path in [*notebook.inputs(), *corpus_files]}
        wrong += [f"{name}: read {file}, which is no declared input" for file in used["files"] if file not in files]
    return wrong
