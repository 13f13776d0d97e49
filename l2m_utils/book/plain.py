"""Text from outside as text: nothing that a record, a file name or a model name holds becomes Markdown, HTML, TeX or a template of a page."""

from __future__ import annotations

import html
import json
import os
import re
import tempfile
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from l2m_utils.project import PROJECT


def as_text(text: str) -> str:
    """``text`` for a page of MyST: letters, digits and single spaces as they are, all else as character references.

    A reference is a character and never markup: no emphasis, link, tag, formula, role, table cell or ``{{ }}``.  Line ends and
    other control characters become spaces.

    >>> as_text("a|b {{ x }}"), as_text("[x](y)")
    ('a&#124;b &#123;&#123; x &#125;&#125;', '&#91;x&#93;&#40;y&#41;')
    """
    words = "".join(character if character.isprintable() else " " for character in text).split()
    return "".join(c if c.isalnum() or c == " " else f"&#{ord(c)};" for c in " ".join(words))


def value_text(value: Any, shown: str) -> str:
    """How a recorded ``value``, written as ``shown``, stands on a page: a word may be a name from outside (:func:`as_text`), a number gets a minus sign.

    >>> value_text(-0.5, "-0.5 [-0.6, -0.4]"), value_text("a|b", "a|b")
    ('−0.5 [−0.6, −0.4]', 'a&#124;b')
    """
    return as_text(shown) if isinstance(value, str) else shown.replace("-", "−")


def captioned(caption: str, table: str) -> str:
    """A pipe table of MyST with a caption, which gives it a number; what is no table (a sentence that there is none) stays as it is.

    >>> print(captioned("Two words", "| a |\\n| --- |\\n| b |"))
    :::{table} Two words
    | a |
    | --- |
    | b |
    :::
    >>> captioned("Two words", "Nothing yet.")
    'Nothing yet.'
    """
    return f":::{{table}} {caption}\n{table}\n:::" if table.startswith("|") else table


def private_folders(parameters: Mapping[str, Any]) -> list[str]:
    """Folders of this machine, longest first, that no page and no record may name: project, home, temporary files, and those of absolute paths in ``parameters``.

    >>> "/data/mine/" in private_folders({"corpus": "/data/mine/books.parquet", "seed": 0})
    True
    """
    paths = [Path(value).parent for value in parameters.values() if isinstance(value, str) and os.path.isabs(value)]
    folders = {PROJECT, PROJECT.resolve(), Path.home(), Path(tempfile.gettempdir()), *paths}
    found = {str(folder).rstrip(os.sep) + os.sep for folder in folders if folder != Path(folder.anchor)}
    return sorted(found, key=lambda folder: (-len(folder), folder))


def without_folders(text: str, folders: Iterable[str]) -> str:
    """``text`` with the names of ``folders`` left out of its paths, as they are and as Python and HTML write them.

    A picture in a page is one long word of letters, ``+`` and ``/``, in which a folder may stand by chance: there it is left alone.

    >>> without_folders("read /data/mine/books.parquet", ["/data/mine/"])
    'read books.parquet'
    """
    for folder in folders:
        for written in {folder, json.dumps(folder, ensure_ascii=False)[1:-1], repr(folder)[1:-1], html.escape(folder)}:
            if written in text:
                text = re.sub("(?<![A-Za-z0-9+/])" + re.escape(written), "", text)
    return text
