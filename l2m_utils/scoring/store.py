"""Scores on disk: a run that is killed goes on where it stopped, and never scores a finished shard again.

:func:`score_all` cuts the sequences into batches of one length.  Each batch becomes a *shard*:

    <name>.safetensors   ``tokens`` int32 and ``logprobs`` float32, both (sequences, length); nothing that changes from run to run
    <name>.json          its manifest: checksum, model, prefix, versions, hardware, seed, corpus, time taken

``<name>`` is a hash of what identifies the model, the prefix id, the token ids and the *layout* of a row (empty: one sequence, of
which each token follows those before it; see :meth:`.stored.StoredScorer.score_crossed` for the other one), so any number of models
and corpora can share a folder.  A shard is finished when its file agrees with the checksum in its manifest;
both are written under another name first and moved into place, the manifest before the shard.  Several
processes may work on one folder: each takes a lock (a byte range of the file ``lock``, which the system
releases when a process dies) before it scores a shard, so they share the work.
"""

from __future__ import annotations

import errno
import json
import platform
import time
import warnings
from collections.abc import Iterable
from functools import cache
from importlib import metadata
from pathlib import Path

import numpy as np
import pandas as pd
from tqdm import tqdm

from l2m_utils import files, project
from l2m_utils.scoring.base import Scorer, check_logprobs, check_sequences, equal_length_batches

_PACKAGES = ("l2m-book", "numpy", "safetensors", "torch", "transformers", "tokenizers", "vllm")


class StoreError(OSError):
    """A shard could not be written; everything that was finished before is safe."""


def score_all(
    scorer: Scorer,
    sequences: Iterable,
    folder: str | Path,
    *,
    shard_tokens: int = 65_536,
    seed: int | None = None,
    corpus: str = "",
    layout: str = "",
) -> list[np.ndarray]:
    """Scores of all sequences, read from ``folder`` where they are there, else computed and stored.

    Parameters
    ----------
    scorer : see :class:`l2m_utils.scoring.base.Scorer`.
    sequences : lists or arrays of token ids; equal sequences are scored once.
    folder : made if needed; may hold shards of other models and corpora, and serve several processes at once.
    shard_tokens : most tokens in a shard, that is, how much work a kill can cost; more (a million) suits a fast engine.
    seed, corpus : the seed of the sampling and the fingerprint of the corpus, for the manifest only.
    layout : how a row is read, if not as one sequence; scores of one layout are never found for another.

    Returns a float32 array of log-probabilities (nats) for each sequence, in the given order.  Shards are
    found again if sequences of each length come in the same order; sequences appended at the end leave the full ones
    as they are.  Raises :class:`~l2m_utils.scoring.base.ScoringError` before any work if a sequence cannot be
    scored, and :class:`StoreError` when the disk is full.

    >>> import tempfile
    >>> from l2m_utils.scoring.exact import ExactScorer
    >>> class Coin:
    ...     alphabet = 2
    ...     def logprobs(self, tokens):
    ...         return np.log(np.where(tokens == 1, 0.25, 0.75))
    >>> folder = tempfile.mkdtemp()
    >>> scores = score_all(ExactScorer(Coin()), [[1, 0], [1], [1, 0]], folder)
    >>> [np.exp(row).round(2).astype(float).tolist() for row in scores]
    [[0.25, 0.75], [0.25], [0.25, 0.75]]
    >>> summary(folder)["tokens"].sum()  # the repeated sequence was scored once
    np.int64(3)
    """
    checked = check_sequences(sequences, scorer.vocabulary, scorer.context)
    numbers: dict[bytes, int] = {}
    position = [numbers.setdefault(array.tobytes(), len(numbers)) for array in checked]
    unique = [np.frombuffer(content, np.int64) for content in numbers]
    folder = Path(folder)
    folder.mkdir(parents=True, exist_ok=True)

    shards = {}
    for batch in equal_length_batches(unique, shard_tokens):
        tokens = np.stack([unique[index] for index in batch]).astype(np.int32)
        shards[_name(scorer, tokens, layout)] = (batch, tokens)

    scores: list[np.ndarray] = [np.empty(0, np.float32)] * len(unique)
    missing, busy = [], []
    with (
        tqdm(total=sum(map(len, unique)), desc="scoring", unit="token", unit_scale=True, delay=5) as bar,
        files.claims(folder) as claim,
    ):

        def keep(name: str, rows: np.ndarray) -> None:
            for index, row in zip(shards[name][0], rows, strict=True):
                scores[index] = row
            bar.update(rows.size)

        for name, (_, tokens) in shards.items():
            rows = _read(folder, name, tokens)
            keep(name, rows) if rows is not None else missing.append(name)
        # First what nobody else works on, then what another process was busy with: it may have died since.
        for queue, wait in ((missing, False), (busy, True)):
            for name in queue:
                with claim(name, wait) as mine:
                    if not mine:
                        busy.append(name)
                        continue
                    tokens = shards[name][1]
                    rows = _read(folder, name, tokens, quiet=True)  # another process may have finished it meanwhile
                    if rows is None:
                        run = {"seed": seed, "corpus": corpus, **({"layout": layout} if layout else {})}
                        rows = _score(scorer, tokens, folder, name, run)
                    keep(name, rows)
    return [scores[index] for index in position]


def summary(folder: str | Path) -> pd.DataFrame:
    """One row a shard of ``folder``: model, backend, dtype, sequences, length, tokens, seconds, hardware, corpus, seed, layout.

    ``tokens`` over ``seconds`` is the measured speed.  Manifests whose shard is missing are left out.
    """
    rows = []
    for path in sorted(Path(folder).glob("*.json")):
        if path.with_suffix(".safetensors").exists():
            manifest = json.loads(path.read_text())
            rows.append(
                {
                    "shard": path.stem,
                    "layout": "",
                    **manifest.pop("identity"),
                    **{key: value for key, value in manifest.items() if key != "versions"},
                }
            )
    return pd.DataFrame(rows)


def _name(scorer: Scorer, tokens: np.ndarray, layout: str) -> str:
    """The name of a shard: a hash of the model's identity, the prefix id, the token ids (sequences, length) and the layout, if it has one."""
    identity = json.dumps([scorer.identity, scorer.prefix_id, tokens.shape, *filter(None, [layout])], sort_keys=True)
    return files.checksum(identity, tokens.astype("<i4").tobytes())[:32]


def _read(folder: Path, name: str, tokens: np.ndarray, quiet: bool = False) -> np.ndarray | None:
    """The scores of a finished shard, or None; a shard that is there but damaged is announced."""
    from safetensors.numpy import load

    shard = folder / f"{name}.safetensors"
    try:
        content = shard.read_bytes()
    except FileNotFoundError:
        return None
    try:
        manifest = json.loads((folder / f"{name}.json").read_text())
        if files.checksum(content) == manifest["sha256"]:
            tensors = load(content)
            if np.array_equal(tensors["tokens"], tokens) and tensors["logprobs"].shape == tokens.shape:
                return tensors["logprobs"]
    except (FileNotFoundError, ValueError, KeyError):
        pass  # no manifest or an unreadable one: as good as a wrong checksum
    if not quiet:
        warnings.warn(
            f"shard {shard} does not agree with its manifest (truncated or changed): it is scored again",
            RuntimeWarning,
            stacklevel=3,
        )
    return None


def _score(scorer: Scorer, tokens: np.ndarray, folder: Path, name: str, run: dict) -> np.ndarray:
    """Score one batch and store it: manifest first, then the shard, so that a shard in place is a finished one."""
    from safetensors.numpy import save

    start = time.perf_counter()
    scores = scorer.score(list(tokens))
    seconds = time.perf_counter() - start
    rows = np.stack(
        [check_logprobs(row, tokens.shape[1], scorer.identity.get("model", "the scorer")) for row in scores]
    )
    if len(rows) != len(tokens):
        raise ValueError(f"the scorer returned {len(rows)} results for {len(tokens)} sequences: expected one for each")
    content = save(
        {"tokens": tokens, "logprobs": rows}, metadata={"identity": json.dumps(scorer.identity, sort_keys=True)}
    )
    manifest = {
        "identity": scorer.identity,
        "prefix_id": scorer.prefix_id,
        "sha256": files.checksum(content),
        "sequences": len(tokens),
        "length": tokens.shape[1],
        "tokens": tokens.size,
        "seconds": round(seconds, 6),
        "hardware": project.hardware(),
        "commit": project.commit(),
        "versions": _versions(),
        **run,
    }
    try:
        # Nobody else writes this shard while we hold its lock: what lies there half-written is a dead process's.
        for stale in folder.glob(f".{name}.*"):
            stale.unlink(missing_ok=True)
        files.write_json(folder / f"{name}.json", manifest)
        files.write_atomically(folder / f"{name}.safetensors", content)
    except OSError as error:
        if error.errno in (errno.ENOSPC, errno.EDQUOT):
            raise StoreError(
                error.errno,
                f"no space left for shard {name} ({len(content)} bytes) in {folder}: finished shards are safe; free some space and run again",
            ) from error
        raise
    return rows


@cache
def _versions() -> dict[str, str]:
    """Versions of Python and of the packages that have a part in the scores."""
    found = {"python": platform.python_version()}
    for package in _PACKAGES:
        try:
            found[package] = metadata.version(package)
        except metadata.PackageNotFoundError:
            continue
    return found
