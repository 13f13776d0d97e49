"""Read the corpus once before any notebook runs, so that bad text gives one message and not seven."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

from l2m_utils.files import write_atomically, write_json
from l2m_utils.project import PROJECT


def describe(corpus: str) -> dict:
    """Name, fingerprint, documents and bytes of a corpus; raises ``CorpusError`` for text that no notebook could use."""
    from l2m_utils.text.corpora import load
    from l2m_utils.text.cuts import split

    loaded = load(corpus)
    split(loaded)  # one document alone cannot be split in training and held-out text
    return {
        "name": loaded.name,
        "fingerprint": loaded.fingerprint,
        "documents": len(loaded.documents),
        "bytes": sum(len(document.text.encode()) for document in loaded.documents),
    }


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--corpus", required=True)
    parser.add_argument("--folder", required=True, type=Path)
    options = parser.parse_args()
    folder = options.folder if options.folder.is_absolute() else PROJECT / options.folder
    from l2m_utils.text.documents import CorpusError

    message = folder / "errors" / "corpus.txt"
    message.unlink(missing_ok=True)
    try:
        write_json(folder / "corpus.json", describe(options.corpus))
    except CorpusError as error:
        said = str(error).removeprefix(f"{options.corpus}: ")
        write_atomically(message, f"CORPUS={options.corpus}: {said}\n".encode())
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
