"""Text from the Hugging Face hub: data sets pinned to a commit and streamed, so that only what is used is fetched.

``pg19`` is ``emozilla/pg19`` (columns short_book_title, publication_date, url, text), a Parquet copy of the data set of the
paper; ``deepmind/pg19`` is a script, which ``datasets`` ≥ 4 refuses to run.  ``wikipedia`` is
``wikimedia/wikipedia``, configuration ``20231101.en`` (columns id, url, title, text), as in the paper.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path

from tqdm.auto import tqdm

from l2m_utils.files import checksum
from l2m_utils.text.documents import Corpus, CorpusError, Document
from l2m_utils.text.files import checked, row_name
from l2m_utils.text.kept import kept_corpus

PROBE_SECONDS = 10.0  # to find out that there is no network: the streaming of `datasets` itself would try for minutes


@dataclass(frozen=True)
class HubSet:
    """A data set of the hub at one commit; ``repository`` may also be a local folder with the same layout."""

    repository: str
    revision: str
    config: str | None = None
    split: str = "train"

    def __str__(self) -> str:
        return f"{self.repository}{f':{self.config}' if self.config else ''}@{self.revision}"


KNOWN = {
    "pg19": HubSet("emozilla/pg19", "c021754c8e01c5b1cc83a1f549c1f97fbbb756b8"),
    "wikipedia": HubSet("wikimedia/wikipedia", "b04c8d1ceb2f5cd4588862100d08de323dccfbaa", "20231101.en"),
}
_NAME = re.compile(r"(?P<name>[\w-]+(?:/[\w.-]+)?)(?::(?P<config>[\w.-]+))?(?:@(?P<revision>[\w./-]+))?")
_COMMIT = re.compile(r"[0-9a-f]{40}")


def parse(name: str) -> HubSet | None:
    """``pg19``, ``pg19@commit`` or ``owner/name[:config]@commit`` as a :class:`HubSet`; None if the name is none of these.

    Raises :class:`CorpusError` for a revision that is no full commit hash: branches move, and results with them.

    >>> print(parse("wikipedia"), parse("owner/name:en@" + 40 * "a").config, parse("some-folder"))
    wikimedia/wikipedia:20231101.en@b04c8d1ceb2f5cd4588862100d08de323dccfbaa en None
    """
    match = _NAME.fullmatch(name)
    if match is None:
        return None
    known, revision = KNOWN.get(match["name"]), match["revision"]
    if known is None and ("/" not in name or revision is None):
        return None
    if revision is not None and not _COMMIT.fullmatch(revision):
        raise CorpusError(
            f"{name}: revision {revision!r} is no commit. Pin the data set to a full commit hash (40 hex digits)"
        )
    source = known or HubSet(match["name"], revision or "")
    return replace(source, revision=revision or source.revision, config=match["config"] or source.config)


def _advice(source: HubSet) -> str:
    return (
        f"Connect to the network (behind a proxy set HTTPS_PROXY), or download {source.repository} elsewhere and give the path of "
        "its Parquet files instead; python-docs needs no network"
    )


def _probe(source: HubSet) -> None:
    """Ask the hub once for the pinned commit, so that what is wrong is said in seconds."""
    from huggingface_hub import HfApi
    from huggingface_hub.errors import HfHubHTTPError

    try:
        HfApi().dataset_info(source.repository, revision=source.revision, timeout=PROBE_SECONDS)
    except HfHubHTTPError as error:
        status = error.response.status_code if error.response is not None else "unknown"
        raise CorpusError(
            f"{source}: the hub answered with status {status}. Check the name of the data set and the commit, and whether it needs "
            "a login (huggingface-cli login)"
        ) from error
    except Exception as error:  # every way in which a network can be absent, of whatever HTTP library is below
        raise CorpusError(
            f"{source}: the hub cannot be reached ({type(error).__name__}: {error}). {_advice(source)}"
        ) from error


def stream(source: HubSet) -> Iterator[Document]:
    """Documents of a hub data set, fetched as they are asked for; raises :class:`CorpusError` also in the middle."""
    from datasets import load_dataset

    try:
        rows = load_dataset(
            source.repository, source.config, split=source.split, revision=source.revision, streaming=True
        )
        columns = rows.column_names
        if columns is not None and "text" not in columns:
            raise CorpusError(
                f"{source}: no column 'text' (found: {', '.join(columns)}). Choose a data set or configuration that has one"
            )
        for number, row in enumerate(rows):
            where = f"{source}, row {number}"
            if "text" not in row:
                raise CorpusError(
                    f"{where}: no column 'text' (found: {', '.join(row)}). Choose a data set or configuration that has one"
                )
            yield Document(checked(row_name(row, f"row-{number}"), where, "the title"), checked(row["text"], where))
    except CorpusError:
        raise
    except Exception as error:  # datasets, fsspec and the HTTP library below each have their own
        raise CorpusError(
            f"{source}: cannot be read ({type(error).__name__}: {str(error).splitlines()[0]}). {_advice(source)}"
        ) from error


def corpus(
    source: HubSet, name: str, take: Callable[[Iterable[Document]], Iterable[Document]], limit_bytes: int, folder: Path
) -> Corpus:
    """The first ``limit_bytes`` of a data set as chosen by ``take``, kept in ``folder`` so that it is fetched once."""

    def build() -> list[Document]:
        if not Path(source.repository).is_dir():
            _probe(source)
        documents = []
        with tqdm(total=limit_bytes, desc=f"fetching {name}", unit="B", unit_scale=True) as bar:
            for document in take(filled()):
                documents.append(document)
                bar.update(len(document.text.encode()))
        if not documents:
            raise CorpusError(f"{source}: no document has any text. Choose another data set, configuration or commit")
        return documents

    def filled() -> Iterator[Document]:
        for document in stream(source):
            if document.text.strip():
                yield document

    key = {"source": str(source), "split": source.split, "limit_bytes": limit_bytes}
    note = f"the first {limit_bytes / 1e6:g} MB of {source}, split {source.split}"
    digest = checksum(f"{source} {source.split} {limit_bytes}")[:16]
    return kept_corpus(folder / f"{name}-{digest}", key, name, build, note)
