"""A plan over a stored scorer: cut off at any moment and resumed, the same bytes, and nothing scored twice.

Run as a program, this file is the nursery of the processes that the test kills: it imports what they need
and forks one for every line that it reads.
"""

from __future__ import annotations

import hashlib
import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest

from l2m_utils import project
from l2m_utils.estimators.evaluations import Evaluations, evaluate, plan
from l2m_utils.scoring.base import Scorer, ScoringError
from l2m_utils.scoring.store import summary
from l2m_utils.scoring.stored import StoredScorer

WANTED = plan(32, (2, 3), derangements=2)
BLOCKS, SHARD_TOKENS, KILLS = 12, 60, 8


class Noted:
    """A scorer over ten symbols whose scores hang on the whole history; it notes every call and can fail or take its time."""

    prefix_id, vocabulary, context = 0, 10, 64
    identity = {"backend": "exact", "model": "noted", "revision": "1", "dtype": "float64"}

    def __init__(self, fail_at: int = -1, log: Path | None = None, seconds: float = 0.0):
        self.calls, self.tokens = 0, 0
        self.fail_at, self.log, self.seconds = fail_at, log, seconds

    def score(self, sequences):
        if self.calls == self.fail_at:
            raise KeyboardInterrupt
        tokens = np.stack(sequences)
        if self.log:
            with self.log.open("a") as stream:
                stream.write(hashlib.sha1(tokens.astype(np.int64).tobytes()).hexdigest() + "\n")
        time.sleep(self.seconds)
        self.calls += 1
        self.tokens += tokens.size
        return list((-np.log(2.0 + tokens + np.sin(np.cumsum(tokens, axis=1)))).astype(np.float32))


def drawn() -> tuple[np.ndarray, np.ndarray]:
    return np.random.default_rng(1).integers(0, 10, (BLOCKS, WANTED.max_length)), np.arange(BLOCKS) // 2


def run(scorer) -> Evaluations:
    return evaluate(scorer, WANTED, *drawn(), np.random.default_rng(2), progress=False)


def digest(scores: Evaluations) -> str:
    arrays = [scores.conditional, *scores.marginals, *scores.crossed, scores.partners]
    return hashlib.sha256(b"".join(array.tobytes() for array in arrays)).hexdigest()


def shards_in(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in folder.glob("*.safetensors")}


def stored(scorer, folder) -> StoredScorer:
    return StoredScorer(scorer, folder, seed=2, corpus="c0ffee", shard_tokens=SHARD_TOKENS)


def nursery() -> None:
    import safetensors.numpy  # noqa: F401  imported, and the machine described, once for all children

    from l2m_utils.scoring import store

    project.commit(), project.hardware(), store._versions()
    for line in sys.stdin:
        order = json.loads(line)
        if isinstance(order, int):
            print(os.waitstatus_to_exitcode(os.waitpid(order, 0)[1]), flush=True)
            continue
        folder, log, answer, seconds = order
        pid = os.fork()
        if pid == 0:
            code = 1
            try:
                Path(answer).write_text(digest(run(stored(Noted(log=Path(log), seconds=seconds), folder))))
                code = 0
            finally:
                os._exit(code)
        print(pid, flush=True)


@pytest.fixture(scope="module")
def children():
    environment = {**os.environ, "PYTHONPATH": str(project.PROJECT), "OMP_NUM_THREADS": "1"}
    process = subprocess.Popen(
        [sys.executable, __file__], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, env=environment
    )

    def ask(order) -> int:
        print(json.dumps(order), file=process.stdin, flush=True)
        return int(process.stdout.readline())

    yield ask
    process.communicate()


def asked(log: Path) -> list[str]:
    """Hashes of what the scorers were asked for, in order; a kill may have cut the last line."""
    return log.read_text().split("\n")[:-1] if log.exists() else []


@pytest.fixture(autouse=True)
def spare_the_disk(monkeypatch):
    """Nobody kills this process: only the children wait until the disk has written."""
    monkeypatch.setattr(os, "fsync", lambda handle: None)


def test_it_is_a_scorer_and_gives_what_the_model_gives(tmp_path):
    plain, kept = Noted(), stored(Noted(), tmp_path)
    assert isinstance(kept, Scorer)
    assert digest(run(kept)) == digest(run(plain))
    assert (
        0
        < kept.scored
        == kept.scorer.tokens
        == kept.shards()["tokens"].sum()
        <= BLOCKS * WANTED.evaluations
        == plain.tokens
    )


@pytest.mark.parametrize("fail_at", [0, 1, 5, 17, 30])
def test_interrupted_inside_the_scorer_and_resumed(tmp_path, fail_at):
    whole = stored(Noted(), tmp_path / "whole")
    expected = digest(run(whole))
    assert whole.scorer.calls > 30  # the interruptions do fall into the work

    first = stored(Noted(fail_at), tmp_path / "cut")
    with pytest.raises(KeyboardInterrupt):
        run(first)
    finished = shards_in(tmp_path / "cut")
    assert len(finished) == first.scorer.calls == fail_at
    second = stored(Noted(), tmp_path / "cut")
    assert digest(run(second)) == expected
    assert (
        shards_in(tmp_path / "cut") == shards_in(tmp_path / "whole")
        and finished.items() <= shards_in(tmp_path / "cut").items()
    )
    assert first.scored + second.scored == whole.scored == second.shards()["tokens"].sum()
    third = stored(Noted(fail_at=0), tmp_path / "cut")  # may not be asked for anything
    assert digest(run(third)) == expected and third.scored == 0


def test_killed_at_several_moments(tmp_path, children):
    """SIGKILL somewhere in a shard, between two of them, or between two steps of the plan."""
    whole = stored(Noted(), tmp_path / "whole")
    expected, total = digest(run(whole)), whole.scorer.calls
    folder, log, answer = tmp_path / "killed", tmp_path / "log", tmp_path / "answer"
    rng = np.random.default_rng(int.from_bytes(os.urandom(4)))
    for _ in range(KILLS):
        finished, known = shards_in(folder), len(asked(log))
        child = children([str(folder), str(log), str(answer), 0.003])
        deadline, enough = time.monotonic() + 20, known + rng.integers(1, total // KILLS)
        while len(asked(log)) < enough and time.monotonic() < deadline:
            time.sleep(0.001)
        time.sleep(rng.uniform(0, 0.015))
        os.kill(child, signal.SIGKILL)
        assert children(child) == -signal.SIGKILL and not answer.exists()
        assert finished.items() <= shards_in(folder).items()
    assert 0 < len(shards_in(folder)) < total
    assert children(children([str(folder), str(log), str(answer), 0.0])) == 0
    assert answer.read_text() == expected and shards_in(folder) == shards_in(tmp_path / "whole")
    counts = {name: asked(log).count(name) for name in asked(log)}
    assert len(counts) == total
    assert sum(counts.values()) <= total + KILLS  # a kill costs the shard under way at most


def test_two_processes_share_the_work(tmp_path, children):
    folder, log = tmp_path / "scores", tmp_path / "log"
    answers = [tmp_path / "one", tmp_path / "two"]
    pair = [children([str(folder), str(log), str(answer), 0.005]) for answer in answers]
    assert [children(pid) for pid in pair] == [0, 0]
    assert len({answer.read_text() for answer in answers}) == 1
    assert len(asked(log)) == len(set(asked(log))) == len(shards_in(folder))


def test_shards_are_those_of_this_model_seed_and_corpus(tmp_path):
    mine = stored(Noted(), tmp_path)
    assert mine.shards().empty
    mine.score([[1, 2, 3], [4, 5, 6]])
    others = [
        StoredScorer(Noted(), tmp_path, seed=3, corpus="c0ffee"),
        StoredScorer(Noted(), tmp_path, corpus="c0ffee"),
    ]
    named = Noted()
    named.identity = {**Noted.identity, "model": "other"}
    others.append(stored(named, tmp_path))
    for number, other in enumerate(others):
        other.score([[1, 2, 3, 4, number]])
    assert len(summary(tmp_path)) == 4
    assert (
        mine.shards()["tokens"].tolist() == [6] and [other.shards()["tokens"].tolist() for other in others] == [[5]] * 3
    )
    assert mine.shards()["seed"].tolist() == [2] and mine.shards()["corpus"].tolist() == ["c0ffee"]


def test_a_block_beyond_the_context_is_refused_before_any_work(tmp_path):
    kept, wanted = stored(Noted(), tmp_path), plan(128, (2,))
    tokens = np.zeros((4, 128), int)
    with pytest.raises(ScoringError, match="has 128 tokens, the model's context allows 64"):
        evaluate(kept, wanted, tokens, np.arange(4), np.random.default_rng(0), progress=False)
    assert kept.scored == 0 and kept.shards().empty


if __name__ == "__main__":
    nursery()
