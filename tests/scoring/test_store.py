"""Stored scores: kills, truncation, two runs at once, a full disk.

Run as a program, this file is the nursery of the processes that the tests kill: it imports what they need
(without torch) and forks one for every line that it reads.
"""

from __future__ import annotations

import errno
import hashlib
import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

if __name__ == "__main__":
    sys.modules["torch"] = None  # type: ignore[assignment]

import numpy as np
import pytest

from l2m_utils import project
from l2m_utils.scoring import store
from l2m_utils.scoring.base import ScoringError
from l2m_utils.scoring.exact import ExactScorer
from l2m_utils.scoring.store import StoreError, score_all, summary

KILLS = 50
SHARD_TOKENS = 60


class Slow:
    """A source over ten symbols that notes what it is asked to score, and takes its time."""

    alphabet = 10

    def __init__(self, log: Path | None = None, seconds: float = 0.0):
        self._log, self._seconds = log, seconds
        self.asked = 0
        self.sizes = []

    def logprobs(self, tokens):
        self.asked += 1
        self.sizes.append(tokens.shape)
        if self._log:
            with self._log.open("a") as stream:
                stream.write(hashlib.sha1(tokens.tobytes()).hexdigest() + "\n")
        time.sleep(self._seconds)
        before = np.pad(np.cumsum(tokens, axis=1)[:, :-1], ((0, 0), (1, 0)))
        return -np.log(2.0 + tokens + np.sin(before))  # unlike for every history; no need to sum to one here


def scorer_of(source: Slow) -> ExactScorer:
    return ExactScorer(source, name="slow")


def sequences_of(shards: int) -> list[np.ndarray]:
    """Sequences that fill ``shards`` full shards of two lengths."""
    rng = np.random.default_rng(5)
    half = shards // 2
    return [*rng.integers(0, 10, size=(half * 3, 20)), *rng.integers(0, 10, size=((shards - half) * 4, 15))]


class Nursery:
    """Starts processes that score a folder; a killed one ends with the negative number of its signal."""

    def __enter__(self):
        environment = {**os.environ, "PYTHONPATH": str(project.PROJECT), "OMP_NUM_THREADS": "1"}
        command = [sys.executable, __file__]
        self.process = subprocess.Popen(
            command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, env=environment
        )
        return self

    def __exit__(self, *error):
        self.process.communicate()

    def start(self, folder: Path, log: Path, shards: int, seconds: float) -> int:
        print(json.dumps([str(folder), str(log), shards, seconds]), file=self.process.stdin, flush=True)
        return int(self.process.stdout.readline())

    def end(self, pid: int) -> tuple[int, str]:
        """Waits for the process; its exit code, and a hash of all scores if it came so far."""
        print(pid, file=self.process.stdin, flush=True)
        code, answer = json.loads(self.process.stdout.readline())
        return code, answer


def nursery() -> None:
    import safetensors.numpy  # noqa: F401  imported, and the machine described, once for all children

    project.commit(), project.hardware(), store._versions()
    answers = {}
    for line in sys.stdin:
        order = json.loads(line)
        if isinstance(order, int):
            code = os.waitstatus_to_exitcode(os.waitpid(order, 0)[1])
            print(json.dumps([code, answers[order].read_text() if answers[order].exists() else ""]), flush=True)
            continue
        folder, log, shards, seconds = order
        answer = Path(log).with_name(f"answer-{len(answers)}")
        pid = os.fork()
        if pid == 0:
            code = 1
            try:
                scores = score_all(
                    scorer_of(Slow(Path(log), seconds)), sequences_of(shards), folder, shard_tokens=SHARD_TOKENS
                )
                answer.write_text(digest(scores))
                code = 0
            finally:
                os._exit(code)
        answers[pid] = answer
        print(pid, flush=True)


def digest(scores: list[np.ndarray]) -> str:
    return hashlib.sha256(b"".join(row.tobytes() for row in scores)).hexdigest()


def asked(log: Path) -> list[str]:
    """What the sources were asked to score, in order; the last line may be cut by a kill."""
    return log.read_text().split("\n")[:-1] if log.exists() else []


def shards_in(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in folder.glob("*.safetensors")}


def tokens_of(shard: bytes) -> str:
    """What the source logs for this shard."""
    from safetensors.numpy import load

    return hashlib.sha1(load(shard)["tokens"].astype(np.int64).tobytes()).hexdigest()


def test_killed_at_random_moments(tmp_path, monkeypatch):
    """SIGKILL at random moments: the bytes are those of an undisturbed run, and no finished shard is scored again."""
    shards = 6 * KILLS
    with monkeypatch.context() as patch:
        patch.setattr(os, "fsync", lambda handle: None)  # nobody kills this run: spare the disk
        whole = score_all(scorer_of(Slow()), sequences_of(shards), tmp_path / "whole", shard_tokens=SHARD_TOKENS)
    expected = shards_in(tmp_path / "whole")
    assert len(expected) == shards

    folder, log = tmp_path / "killed", tmp_path / "log"
    rng = np.random.default_rng(int.from_bytes(os.urandom(4)))
    with Nursery() as children:
        for _ in range(KILLS):
            finished, known = shards_in(folder), len(asked(log))
            child = children.start(folder, log, shards, seconds=0.002)
            deadline, enough = time.monotonic() + 20, known + rng.integers(5)
            while len(asked(log)) < enough and time.monotonic() < deadline:
                time.sleep(0.001)
            time.sleep(rng.uniform(0, 0.012))  # somewhere in scoring, manifest, shard or lock
            os.kill(child, signal.SIGKILL)
            assert children.end(child) == (-signal.SIGKILL, "")
            assert finished.items() <= shards_in(folder).items()  # nothing finished is touched
            assert not {tokens_of(shard) for shard in finished.values()} & set(asked(log)[known:])
        assert KILLS // 2 < len(shards_in(folder)) < shards  # the kills did fall into the work
        assert children.end(children.start(folder, log, shards, seconds=0.0)) == (0, digest(whole))
    assert shards_in(folder) == expected
    assert len(asked(log)) <= shards + KILLS  # a kill costs the shard under way at most
    assert not list(folder.glob(".*"))  # nor does it leave rubbish


def test_two_runs_on_one_folder_share_the_work(tmp_path):
    folder, log = tmp_path / "scores", tmp_path / "log"
    with Nursery() as children:
        pair = [children.start(folder, log, 40, seconds=0.01) for _ in range(2)]
        (code, answer), other = (children.end(child) for child in pair)
    assert code == 0 and answer and other == (code, answer)
    assert len(shards_in(folder)) == 40
    assert len(asked(log)) == len(set(asked(log))) == 40


def test_a_run_takes_over_from_one_that_dies(tmp_path):
    folder, log = tmp_path / "scores", tmp_path / "log"
    with Nursery() as children:
        dying = children.start(folder, log, 6, seconds=5.0)
        while not asked(log):
            time.sleep(0.001)
        living = children.start(folder, log, 6, seconds=0.0)
        while len(asked(log)) < 6:  # five by now, and the one that the dying process holds
            time.sleep(0.001)
        os.kill(dying, signal.SIGKILL)
        assert children.end(dying)[0] == -signal.SIGKILL
        assert children.end(living)[0] == 0
    assert len(shards_in(folder)) == 6 and len(asked(log)) == 7


DAMAGE = {
    "truncated": lambda shard, manifest: shard.write_bytes(shard.read_bytes()[:-7]),
    "emptied": lambda shard, manifest: shard.write_bytes(b""),
    "one bit": lambda shard, manifest: shard.write_bytes(shard.read_bytes()[:-1] + bytes([shard.read_bytes()[-1] ^ 1])),
    "manifest lost": lambda shard, manifest: manifest.unlink(),
    "manifest truncated": lambda shard, manifest: manifest.write_bytes(manifest.read_bytes()[:30]),
}


def test_a_damaged_shard_is_scored_again_and_only_that_one(tmp_path):
    sequences = sequences_of(6)
    expected = score_all(scorer_of(Slow()), sequences, tmp_path, shard_tokens=SHARD_TOKENS)
    intact = shards_in(tmp_path)
    for number, damage in enumerate(DAMAGE.values()):
        shard = sorted(tmp_path.glob("*.safetensors"))[number]
        damage(shard, shard.with_suffix(".json"))
        source = Slow()
        with pytest.warns(RuntimeWarning, match="does not agree with its manifest"):
            scores = score_all(scorer_of(source), sequences, tmp_path, shard_tokens=SHARD_TOKENS)
        assert source.asked == 1
        assert shards_in(tmp_path) == intact
        assert all(np.array_equal(row, known) for row, known in zip(scores, expected, strict=True))
    source = Slow()
    score_all(scorer_of(source), sequences, tmp_path, shard_tokens=SHARD_TOKENS)
    assert source.asked == 0


def test_disk_full(tmp_path, monkeypatch):
    """The disk is full at the fifth file: a clear error, no rubbish, and the finished shards are not lost."""
    sequences, calls, fsync = sequences_of(6), [], os.fsync

    def full(handle):
        calls.append(handle)
        if len(calls) == 6:  # manifest and shard, twice, then a manifest, then this shard
            raise OSError(errno.ENOSPC, "No space left on device")
        fsync(handle)

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(StoreError, match="finished shards are safe; free some space and run again") as raised:
        score_all(scorer_of(Slow()), sequences, tmp_path, shard_tokens=SHARD_TOKENS)
    assert raised.value.errno == errno.ENOSPC
    monkeypatch.undo()
    assert len(shards_in(tmp_path)) == 2 and not list(tmp_path.glob(".*"))
    assert len(summary(tmp_path)) == 2  # a manifest without its shard does not count
    source = Slow()
    scores = score_all(scorer_of(source), sequences, tmp_path, shard_tokens=SHARD_TOKENS)
    assert source.asked == 4 and len(shards_in(tmp_path)) == 6
    assert all(
        np.array_equal(row, known) for row, known in zip(scores, scorer_of(Slow()).score(sequences), strict=True)
    )


def test_order_duplicates_and_sequences_added_later(tmp_path):
    rng = np.random.default_rng(1)
    sequences = [rng.integers(0, 10, size=length) for length in (7, 20, 7, 3, 20, 20)]
    sequences += [sequences[0], sequences[4]]
    source = Slow()
    scores = score_all(scorer_of(source), sequences, tmp_path, shard_tokens=40)
    for row, known in zip(scores, scorer_of(Slow()).score(sequences), strict=True):
        assert row.dtype == np.float32 and np.array_equal(row, known)
    assert source.sizes == [(2, 20), (1, 20), (2, 7), (1, 3)]  # longest first, duplicates once
    source = Slow()
    score_all(scorer_of(source), [*sequences, *rng.integers(0, 10, size=(2, 20))], tmp_path, shard_tokens=40)
    assert source.sizes == [(2, 20), (1, 20)]  # only the last shard of that length, and what came after it


def test_models_and_prefixes_do_not_share_shards(tmp_path):
    class Other(ExactScorer):
        prefix_id = 3

    sequences = [[1, 2, 3]]
    asked = []
    for make in (
        lambda s: ExactScorer(s, name="a"),
        lambda s: ExactScorer(s, name="b"),
        lambda s: Other(s, name="a"),
        lambda s: ExactScorer(s, name="a"),
    ):
        source = Slow()
        score_all(make(source), sequences, tmp_path)
        asked.append(source.asked)
    assert asked == [1, 1, 1, 0]
    assert len(shards_in(tmp_path)) == 3


def test_manifest_says_where_the_scores_come_from(tmp_path):
    score_all(scorer_of(Slow()), [[1, 2, 3], [4, 5, 6]], tmp_path, seed=11, corpus="c0ffee")
    (path,) = tmp_path.glob("*.json")
    manifest = json.loads(path.read_text())
    assert manifest["identity"] == {"backend": "exact", "model": "slow", "revision": "", "dtype": "float64"}
    assert (manifest["seed"], manifest["corpus"], manifest["prefix_id"]) == (11, "c0ffee", -1)
    assert (manifest["sequences"], manifest["length"], manifest["tokens"]) == (2, 3, 6)
    assert manifest["sha256"] == hashlib.sha256(path.with_suffix(".safetensors").read_bytes()).hexdigest()
    assert manifest["seconds"] >= 0 and manifest["hardware"] and manifest["commit"]
    assert {"python", "numpy", "safetensors", "l2m-book"} <= manifest["versions"].keys()
    row = summary(tmp_path).iloc[0]
    assert (row["model"], row["tokens"], row["corpus"], row["shard"]) == ("slow", 6, "c0ffee", path.stem)


def test_a_bad_sequence_is_found_before_any_work(tmp_path):
    source = Slow()
    with pytest.raises(ScoringError, match="sequence 1: token id 10"):
        score_all(scorer_of(source), [[1, 2], [3, 10]], tmp_path)
    assert source.asked == 0 and not shards_in(tmp_path)


def test_unusable_scores_are_never_stored(tmp_path):
    class Broken(Slow):
        def logprobs(self, tokens):
            return np.full(tokens.shape, np.nan)

    with pytest.raises(ScoringError, match="log-probability nan"):
        score_all(scorer_of(Broken()), [[1, 2]], tmp_path)
    assert not shards_in(tmp_path)


if __name__ == "__main__":
    nursery()
