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
from safetensors.numpy import load_file

from l2m_utils import project
from l2m_utils.estimators.contributions import derangements
from l2m_utils.estimators.cost import remaining, score_first_shard
from l2m_utils.estimators.evaluations import Evaluations, as_read_by, evaluate, plan
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


class Shared(Noted):
    """The same scores from a scorer that reads no X′ twice; what it reads is noted as calls and tokens."""

    shares_prefixes = True

    def __init__(self, *args, refuses: bool = False, **options):
        super().__init__(*args, **options)
        self.refuses = refuses

    def score_crossed(self, tokens, following, splits):
        if self.refuses:
            return None
        if self.calls == self.fail_at:
            raise KeyboardInterrupt
        if self.log:
            with self.log.open("a") as stream:
                stream.write(hashlib.sha1(tokens.astype(np.int64).tobytes()).hexdigest() + "\n")
        time.sleep(self.seconds)
        self.calls += 1
        self.tokens += tokens.size + sum(second.size for second in following)
        plain = Noted()
        behind = [
            [np.stack(plain.score(np.hstack([tokens[:, :s], y])))[:, s:] for y in second]
            for s, second in zip(splits, following, strict=True)
        ]
        return np.stack(plain.score(tokens)), [np.stack(rows) for rows in behind]


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


KINDS: dict[str, type[Noted]] = {"plain": Noted, "shared": Shared}


def nursery() -> None:
    import safetensors.numpy  # noqa: F401  imported, and the machine described, once for all children

    from l2m_utils.scoring import store

    project.commit(), project.hardware(), store._versions()
    for line in sys.stdin:
        order = json.loads(line)
        if isinstance(order, int):
            print(os.waitstatus_to_exitcode(os.waitpid(order, 0)[1]), flush=True)
            continue
        folder, log, answer, seconds, kind = order
        pid = os.fork()
        if pid == 0:
            code = 1
            try:
                Path(answer).write_text(digest(run(stored(KINDS[kind](log=Path(log), seconds=seconds), folder))))
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


@pytest.mark.parametrize(
    ("kind", "fail_at"), [("plain", cut) for cut in (0, 1, 5, 17, 30)] + [("shared", cut) for cut in (0, 1, 5, 11, 14)]
)
def test_interrupted_inside_the_scorer_and_resumed(tmp_path, kind, fail_at):
    scorer = KINDS[kind]
    whole = stored(scorer(), tmp_path / "whole")
    expected = digest(run(whole))
    assert whole.scorer.calls > {"plain": 30, "shared": 14}[kind]  # the interruptions do fall into the work

    first = stored(scorer(fail_at), tmp_path / "cut")
    with pytest.raises(KeyboardInterrupt):
        run(first)
    finished = shards_in(tmp_path / "cut")
    assert len(finished) == first.scorer.calls == fail_at
    second = stored(scorer(), tmp_path / "cut")
    assert digest(run(second)) == expected
    assert (
        shards_in(tmp_path / "cut") == shards_in(tmp_path / "whole")
        and finished.items() <= shards_in(tmp_path / "cut").items()
    )
    assert first.scored + second.scored == whole.scored == second.shards()["tokens"].sum()
    third = stored(scorer(fail_at=0), tmp_path / "cut")  # may not be asked for anything
    assert digest(run(third)) == expected and third.scored == 0


@pytest.mark.parametrize("kind", KINDS)
def test_killed_at_several_moments(tmp_path, children, kind):
    """SIGKILL somewhere in a shard, between two of them, or between two steps of the plan."""
    whole = stored(KINDS[kind](), tmp_path / "whole")
    expected, total = digest(run(whole)), whole.scorer.calls
    folder, log, answer = tmp_path / "killed", tmp_path / "log", tmp_path / "answer"
    rng = np.random.default_rng(int.from_bytes(os.urandom(4)))
    kills = {"plain": KILLS, "shared": KILLS // 2}[kind]  # fewer and larger shards
    for _ in range(kills):
        finished, known = shards_in(folder), len(asked(log))
        child = children([str(folder), str(log), str(answer), 0.003, kind])
        deadline, enough = time.monotonic() + 20, known + rng.integers(1 if kind == "plain" else 3, total // kills)
        while len(asked(log)) < enough and time.monotonic() < deadline:
            time.sleep(0.001)
        time.sleep(rng.uniform(0, 0.015))
        os.kill(child, signal.SIGKILL)
        assert children(child) == -signal.SIGKILL and not answer.exists()
        assert finished.items() <= shards_in(folder).items()
    assert 0 < len(shards_in(folder)) < total
    assert children(children([str(folder), str(log), str(answer), 0.0, kind])) == 0
    assert answer.read_text() == expected and shards_in(folder) == shards_in(tmp_path / "whole")
    counts = {name: asked(log).count(name) for name in asked(log)}
    assert len(counts) == total
    assert sum(counts.values()) <= total + kills  # a kill costs the shard under way at most


def test_two_processes_share_the_work(tmp_path, children):
    folder, log = tmp_path / "scores", tmp_path / "log"
    answers = [tmp_path / "one", tmp_path / "two"]
    pair = [children([str(folder), str(log), str(answer), 0.005, "shared"]) for answer in answers]
    assert [children(pid) for pid in pair] == [0, 0]
    assert len({answer.read_text() for answer in answers}) == 1
    assert len(asked(log)) == len(set(asked(log))) == len(shards_in(folder))


def test_shared_prefixes_are_stored_and_found_as_such(tmp_path):
    """The scores of the plain way for fewer tokens; neither way takes what the other has stored."""
    plain, shared = stored(Noted(), tmp_path / "plain"), stored(Shared(), tmp_path / "shared")
    expected, made = run(plain), run(shared)
    assert digest(made) == digest(expected) and (made.plan.sharing, expected.plan.sharing) == (True, False)
    marginals = summary(tmp_path / "shared").query("layout == ''")["tokens"].sum()  # equal short ones are scored once
    assert marginals <= BLOCKS * WANTED.marginal
    assert shared.scorer.tokens == shared.scored == BLOCKS * (WANTED.shared - WANTED.marginal) + marginals
    layout = "block, 2x4 behind 2, 2x8 behind 4, 2x16 behind 8, 2x16 behind 16"
    assert set(shared.shards()["layout"]) == {"", layout}

    rows = next(iter(summary(tmp_path / "shared").query("layout != ''")["shard"]))
    packed = load_file(tmp_path / "shared" / f"{rows}.safetensors")["tokens"]
    wide = Noted()
    wide.context = 10_000
    again = stored(wide, tmp_path / "shared")
    again.score(list(packed))  # the same ids, as one sequence each
    assert again.scored == packed.size


def test_a_run_goes_on_in_the_way_in_which_it_was_begun(tmp_path):
    """A folder of before prefixes were shared, or of a model that refused: nothing in it is scored again."""
    first = stored(Noted(fail_at=9), tmp_path)
    with pytest.raises(KeyboardInterrupt):
        run(first)
    second = stored(Shared(), tmp_path)
    assert (found := run(second)).plan.sharing is False and digest(found) == digest(run(Noted()))
    whole = stored(Noted(), tmp_path / "whole")
    run(whole)
    assert first.scored + second.scored == whole.scored

    refuses = stored(Shared(refuses=True), tmp_path / "refused")
    assert digest(run(refuses)) == digest(found) and refuses.scored == whole.scored
    assert shards_in(tmp_path / "refused") == shards_in(tmp_path / "whole")
    assert run(later := stored(Shared(), tmp_path / "refused")).plan.sharing is False and later.scored == 0


@pytest.mark.parametrize("way", ["begun", "new"])
def test_the_first_shard_is_the_first_of_the_run(tmp_path, way):
    tokens, documents = drawn()
    partners = derangements(documents, WANTED.derangements, np.random.default_rng(2))
    kept, wanted = stored(Shared(), tmp_path), as_read_by(Shared(), WANTED)
    if way == "begun":
        stored(Noted(), tmp_path).score(list(tokens))
    pace, read = score_first_shard(kept, wanted, tokens, partners)
    assert read.sharing == (way == "new") and (pace.tokens == kept.scored) == (way == "new")
    left = remaining(kept, read, BLOCKS)
    assert left == BLOCKS * read.evaluations - kept.shards()["tokens"].sum()
    run(kept)
    others = stored(Shared(), tmp_path / "other")
    if way == "new":
        run(others)
        assert kept.scored == others.scored  # nothing twice


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
