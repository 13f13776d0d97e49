"""Work that can be killed: a process that has imported everything forks one child for each run, so that runs begin at once.

Run as a program it is that process: it reads lines ``[kind, folder]`` and answers with process ids; a child that comes to its end writes what
it made, as a checksum, to ``folder/answer``.
"""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from importlib import import_module
from pathlib import Path

import numpy as np

from l2m_utils.files import checksum, write_atomically
from l2m_utils.project import PROJECT, commit, hardware

TEXTS = [f"Text {n} is about bees and wasps. " * (40 + n) for n in range(24)]
NOTEBOOK = """from l2m_utils.records import Recorder
import pandas as pd

run = Recorder("theory/example", tier, seed=seed, folder=records)
for number in range(20):
    run.value(f"answer-{number}", number / 7, unit="")
table = run.table("squares", pd.DataFrame({"n": range(100)}))
print(len(table))"""


class Source:
    """A source over ten symbols that takes its time."""

    alphabet = 10

    def logprobs(self, tokens):
        time.sleep(0.002)
        return -np.log(2.0 + tokens + np.sin(np.cumsum(tokens, axis=1)))


def _of_files(folder: Path, *patterns: str) -> str:
    paths = sorted(path for pattern in patterns for path in folder.glob(pattern) if path.is_file())
    return checksum(*(part for path in paths for part in (path.relative_to(folder).as_posix(), path)))


def scores(folder: Path) -> str:
    """A store of scores: 24 shards of a source."""
    from l2m_utils.scoring.exact import ExactScorer
    from l2m_utils.scoring.store import score_all

    tokens = np.random.default_rng(5).integers(0, 10, (72, 20))
    rows = score_all(ExactScorer(Source(), name="slow"), tokens, folder / "store", shard_tokens=60)
    return checksum(b"".join(row.tobytes() for row in rows), _of_files(folder, "store/*.safetensors"))


def texts(folder: Path) -> str:
    """The cache of a corpus."""
    from l2m_utils.text.documents import Document
    from l2m_utils.text.kept import kept_corpus

    def build() -> list[Document]:
        time.sleep(0.01)
        return [Document(str(n), text) for n, text in enumerate(TEXTS)]

    corpus = kept_corpus(folder / "corpora" / "bees", {"version": 1}, "bees", build, "")
    return checksum(*(document.text for document in corpus))


def tokens(folder: Path) -> str:
    """The cache of the token ids of a corpus."""
    from l2m_utils.text.documents import Corpus, Document
    from l2m_utils.text.tokens import encode_corpus, train_bpe

    corpus = Corpus("bees", [Document(str(n), text) for n, text in enumerate(TEXTS)], "")
    return checksum(encode_corpus(train_bpe(TEXTS, 300), corpus, cache=folder / "cache").ids.tobytes())


def training(folder: Path) -> str:
    """A run of training with a checkpoint every third step."""
    import torch

    from l2m_utils.training.loop import Settings, train

    torch.manual_seed(0)
    model = torch.nn.Sequential(torch.nn.Linear(3, 32), torch.nn.Dropout(0.5), torch.nn.Linear(32, 1))

    def batches(step, rank, world):
        x = torch.randn(4, 2, 3, generator=torch.Generator().manual_seed(step))
        return x, x.sum(-1, keepdim=True)

    settings = Settings(30, 1e-2, warmup=3, log_every=4, save_every=3, device="cpu")
    rows = train(
        model, batches, lambda net, at: (net(at[0]) - at[1]).square().mean(), settings, folder / "run", progress=False
    )
    return checksum(
        json.dumps([row["loss"] for row in rows]), *(p.detach().numpy().tobytes() for p in model.parameters())
    )


def cell(folder: Path) -> str:
    """A cell of the Gaussian grid: trained, measured and kept."""
    from l2m_utils.experiments.gaussian_cells import Cell
    from l2m_utils.experiments.gaussian_runs import run_cell

    tiny = Cell("mamba2", 16, state=4, steps=12, sequences=2, learning_rate=1e-2, held_out=64)
    record = run_cell(tiny, folder, progress=False)
    return checksum(json.dumps([record["mean_kl"], record["position_kl"], record["tokens"]]))


def notebook(folder: Path) -> str:
    """One executed notebook with its records and its seal."""
    from tiny_project import FRONT

    from l2m_utils.book.execute import execute
    from l2m_utils.book.jobs import Job

    source = write_atomically(
        folder / "example.md", FRONT.format(title="A page", code=NOTEBOOK, parameters="", l2m="").encode()
    )
    parameters = {"tier": "smoke", "seed": 0, "records": str(folder / "build" / "records")}
    execute(Job("theory/example", str(source), parameters, (), 1, "none", {}, "abc"), folder / "build")
    paths = sorted(
        path for part in ("executed", "records") for path in (folder / "build" / part).rglob("*") if path.is_file()
    )
    return checksum(*(path.read_bytes().replace(str(folder).encode(), b"") for path in paths))


WORK: dict[str, Callable[[Path], str]] = {
    each.__name__: each for each in (scores, texts, tokens, training, cell, notebook)
}


# What takes time to import, and the kinds that need it.
IMPORTS = {
    "safetensors.numpy": ("scores",),
    "pyarrow.parquet": ("texts",),
    "l2m_utils.text.tokens": ("tokens",),
    "l2m_utils.training.loop": ("training", "cell"),
    "l2m_utils.experiments.gaussian_runs": ("cell",),
    "jupytext": ("notebook",),
    "papermill": ("notebook",),
}


class Nursery:
    """Starts and ends children that do work of some kinds; a context, since the process that forks them must end."""

    def __init__(self, kinds: Sequence[str] = tuple(WORK)):
        self._kinds = kinds

    def __enter__(self) -> Nursery:
        paths = [str(PROJECT), str(Path(__file__).parent), str(Path(__file__).parents[1] / "book")]
        environment = {**os.environ, "PYTHONPATH": os.pathsep.join(paths), "OMP_NUM_THREADS": "1"}
        self._process = subprocess.Popen(
            [sys.executable, __file__, *self._kinds],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            env=environment,
        )
        self._process.stdout.readline()  # it has imported all; a run that is timed does not wait for that
        return self

    def __exit__(self, *_) -> None:
        self._process.communicate()

    def _ask(self, order) -> int:
        print(json.dumps(order), file=self._process.stdin, flush=True)
        return int(self._process.stdout.readline())

    def start(self, kind: str, folder: Path) -> int:
        """The process id of a child at work in ``folder``."""
        return self._ask([kind, str(folder)])

    def end(self, pid: int) -> int:
        """Its exit code, negative for a signal."""
        return self._ask(pid)

    def whole(self, kind: str, folder: Path) -> tuple[str, float]:
        """What an undisturbed run leaves, and the seconds that it takes."""
        folder.mkdir(parents=True, exist_ok=True)
        begin = time.monotonic()
        code = self.end(self.start(kind, folder))
        assert code == 0, (
            f"{kind} ended with {code}: {(folder / 'error').read_text() if (folder / 'error').exists() else ''}"
        )
        return (folder / "answer").read_text(), time.monotonic() - begin

    def kill(self, kind: str, folder: Path, after: float) -> bool:
        """Start work and kill it after so many seconds; whether it was killed before it had ended."""
        folder.mkdir(parents=True, exist_ok=True)
        pid = self.start(kind, folder)
        time.sleep(after)
        os.kill(pid, signal.SIGKILL)
        return self.end(pid) == -signal.SIGKILL


def main() -> None:
    """Fork a child for every order that comes in, and wait for those that are asked for."""
    for module in IMPORTS:  # once, for all children; of kinds that nobody kills nothing is needed
        if set(IMPORTS[module]) & set(sys.argv[1:]):
            import_module(module)
    from l2m_utils.scoring import store

    commit(), hardware(), store._versions()
    print("ready", flush=True)
    for line in sys.stdin:
        order = json.loads(line)
        if isinstance(order, int):
            print(os.waitstatus_to_exitcode(os.waitpid(order, 0)[1]), flush=True)
            continue
        kind, folder = order[0], Path(order[1])
        pid = os.fork()
        if pid == 0:
            os.dup2(2, 1)  # what is said on stdout is an answer to an order
            code = 1
            try:
                write_atomically(folder / "answer", WORK[kind](folder).encode())
                code = 0
            except BaseException as error:
                (folder / "error").write_text(f"{type(error).__name__}: {error}")
            finally:
                os._exit(code)
        print(pid, flush=True)


if __name__ == "__main__":
    main()
