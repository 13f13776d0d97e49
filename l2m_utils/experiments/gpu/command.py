"""Everything that is worth a quarter of an hour of a GPU, on a machine that may have no network.

Stages run one after the other, most valuable first, each in a process of its own that is killed at its cap; what a stage does not
use goes to the later ones.  Each leaves ``stage-<name>.zip`` (:mod:`l2m_utils.experiments.gpu.archive`); ``log.txt`` holds what all of them print and
``summary.json`` how each ended.  ``--rehearse`` runs the same code on the CPU at sizes that mean nothing.  ``--publish`` makes records of what came back.
"""

from __future__ import annotations

import argparse
import contextlib
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

from l2m_utils.files import write_json
from l2m_utils.project import PROJECT, RESULTS, commit

# stage → seconds of the whole, what it is
STAGES = {
    "a": (100, "layers: parity of the kernels, then times"),
    "b": (170, "ruler: a pretrained model on books to its whole context"),
    "c": (200, "text: transformers and Mamba-2 at 4,096 tokens"),
    "d": (200, "figure 3: transformer and Mamba-2 on the Gaussian source"),
}
LAST_WORDS = 6.0  # seconds before its cap at which a stage should have written everything


def run_stage(name: str, out: Path, seconds: float, **options) -> None:
    """Run one stage in this process; imports of a stage that is not chosen never happen."""
    if name == "a":
        from l2m_utils.experiments.gpu.layers import run
    elif name == "b":
        from l2m_utils.experiments.gpu.ruler import run
    elif name == "c":
        from l2m_utils.experiments.gpu.text import run
    elif name == "d":
        from l2m_utils.experiments.gpu.figure3 import run
    else:
        raise ValueError(f"stage {name!r}: expected one of {', '.join(STAGES)}")
    run(out, seconds, **options)


def command(name: str, seconds: float, arguments: argparse.Namespace) -> list[str]:
    """The command line that runs one stage alone."""
    words = [
        sys.executable,
        "-m",
        "l2m_utils",
        "gpu",
        "--only",
        name,
        "--seconds",
        f"{seconds:.1f}",
        "--out",
        str(arguments.out),
    ]
    words += ["--data", str(arguments.data), "--commit", arguments.commit]
    return words + (["--rehearse"] if arguments.rehearse else [])


def watched(words: list[str], cap: float, log) -> tuple[int | None, float]:
    """Run ``words`` with its output in ``log`` and kill it, and all that it started, after ``cap`` seconds: (exit status or ``None``, seconds)."""
    start = time.monotonic()
    environment = {**os.environ, "PYTHONUNBUFFERED": "1", "HF_HUB_OFFLINE": "1", "TOKENIZERS_PARALLELISM": "true"}
    process = subprocess.Popen(
        words,
        stdout=log,
        stderr=subprocess.STDOUT,
        stdin=subprocess.DEVNULL,
        cwd=PROJECT,
        env=environment,
        start_new_session=True,
    )
    try:
        status = process.wait(timeout=max(cap, 1.0))
    except subprocess.TimeoutExpired:
        status = None
    finally:
        with contextlib.suppress(ProcessLookupError):  # the group lives on where the stage left children behind
            os.killpg(process.pid, signal.SIGKILL)
        process.wait()
    return status, time.monotonic() - start


def run_all(arguments: argparse.Namespace, stage_command=command) -> list[dict]:
    """Run the chosen stages; returns, and keeps in ``summary.json``, how each ended.

    Raises ``ValueError`` before anything is run if the folder holds a file that no run leaves: what travels back is counted.
    """
    from l2m_utils.experiments.gpu.archive import FILES, read

    arguments.out.mkdir(parents=True, exist_ok=True)
    if others := sorted(path.name for path in arguments.out.iterdir() if path.name not in FILES):
        raise ValueError(
            f"{arguments.out} holds {', '.join(others)}: expected nothing but what a run leaves, at most {len(FILES)} files travel back; name an empty folder"
        )
    end, rows = time.monotonic() + 60 * arguments.minutes, []
    for number, name in enumerate(arguments.stages):
        shares = [STAGES[later][0] for later in arguments.stages[number:]]
        cap = max(0.0, end - time.monotonic()) * shares[0] / sum(shares)
        print(f"stage {name} ({STAGES[name][1]}), at most {cap:.0f} s …", flush=True)
        with open(arguments.out / "log.txt", "a") as log:
            log.write(f"\n===== stage {name}, cap {cap:.0f} s =====\n")
            log.flush()
            start_of_log = log.tell()
            status, seconds = watched(stage_command(name, max(1.0, cap - LAST_WORDS), arguments), cap, log)
        row = {
            "stage": name,
            "status": status,
            "killed": status is None,
            "seconds": round(seconds, 1),
            "cap": round(cap, 1),
            "entries": {},
        }
        try:
            found = read(arguments.out / f"stage-{name}.zip")
            row["entries"] = {key: len(value) if hasattr(value, "__len__") else 1 for key, value in found.items()}
            row["failures"] = [f"{failure['part']}: {failure['error']}" for failure in found.get("failures", [])]
        except Exception as error:  # whatever a stage has left, the next one has its turn
            row["failures"] = [f"{type(error).__name__}: {error}"]
        row["failures"] += _tidied(arguments.out)
        rows.append(row)
        write_json(arguments.out / "summary.json", rows)
        print(
            f"  {'killed at its cap' if status is None else f'exit status {status}'} after {seconds:.0f} s; {row['entries']}",
            flush=True,
        )
        for failure in row["failures"]:
            print(f"  ! {failure[:300]}", flush=True)
        if status != 0:
            text = (arguments.out / "log.txt").read_bytes()[start_of_log:].decode(errors="replace")
            print("    " + "\n    ".join(text.splitlines()[-12:]), flush=True)
    return rows


def _tidied(out: Path) -> list[str]:
    """Remove the halves of files that a killed stage was writing, shorten a log that has grown too long; returns what else would not travel back."""
    from l2m_utils.experiments.gpu.archive import FILES, LARGEST

    faults = []
    for path in sorted(out.iterdir()):
        if path.name.startswith(tuple(f".{name}." for name in FILES)):
            path.unlink()
        elif path.name not in FILES:
            faults.append(f"{path.name}: no file that a run leaves, it is not among the {len(FILES)} that travel back")
        elif (size := path.stat().st_size) > LARGEST and path.name == "log.txt":
            lost = f"\n===== {size - LARGEST:,} bytes and more are left out here =====\n".encode()
            content = path.read_bytes()
            path.write_bytes(content[: LARGEST // 2 - len(lost)] + lost + content[-LARGEST // 2 :])
        elif size > LARGEST:
            faults.append(f"{path.name}: {size:,} bytes, at most {LARGEST:,} travel back")
    return faults


def stages(text: str) -> list[str]:
    """Names of stages, parted by commas.

    >>> stages("a,c")
    ['a', 'c']
    """
    names = [name.strip() for name in text.split(",") if name.strip()]
    if not names or set(names) - set(STAGES) or len(set(names)) < len(names):
        raise argparse.ArgumentTypeError(f"{text!r}: expected different stages among {', '.join(STAGES)}")
    return names


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """What the command takes; the last two are for the processes that it starts itself."""
    what = parser.add_mutually_exclusive_group(required=True)
    what.add_argument("--out", type=Path, help="run, and leave the archives in this folder")
    what.add_argument(
        "--publish", type=Path, metavar="FOLDER", help="make records of the archives that a run left in this folder"
    )
    what.add_argument(
        "--cut", type=Path, metavar="FILE", help="cut a large file into pieces for the journey, in the folder of --data"
    )
    what.add_argument("--join", action="store_true", help="join the pieces in the folder of --data")
    what.add_argument(
        "--prepare", action="store_true", help="join and convert the packaged model, as stage b does first"
    )
    parser.add_argument("--results", type=Path, default=RESULTS, help="folder of the records (default: results)")
    parser.add_argument("--minutes", type=float, default=11.2, help="for all chosen stages together (default: 11.2)")
    parser.add_argument(
        "--stages", type=stages, default=list(STAGES), help="which, in order, such as a,c (default: all)"
    )
    parser.add_argument(
        "--data",
        type=Path,
        default=PROJECT / ".gpu",
        help="folder with books.parquet, openings.parquet and the pieces of the model (default: .gpu)",
    )
    parser.add_argument("--commit", default="", help="commit of this tree, where it travels without .git")
    parser.add_argument("--rehearse", action="store_true", help="tiny sizes on the CPU")
    parser.add_argument("--only", help=argparse.SUPPRESS)
    parser.add_argument("--seconds", type=float, help=argparse.SUPPRESS)


def run(arguments: argparse.Namespace) -> int:
    """Run the stages, or the one stage that this process was started for, or publish; 0 if all went well."""
    if arguments.publish:
        from l2m_utils.experiments.gpu.publish import publish

        try:
            print("\n".join(map(str, publish(arguments.publish, arguments.results))))
        except (ValueError, OSError) as error:  # no archive there, one that is damaged or that cannot be traced
            print(f"error: {error}", file=sys.stderr)
            return 1
        return 0
    if arguments.cut or arguments.join or arguments.prepare:
        return _luggage(arguments)
    arguments.out, arguments.data = arguments.out.resolve(), arguments.data.resolve()
    arguments.commit = arguments.commit or commit()
    if arguments.only:
        about = {"data": arguments.data, "commit": arguments.commit, "rehearse": arguments.rehearse}
        run_stage(arguments.only, arguments.out, arguments.seconds, **about)
        return 0
    try:
        return 0 if all(row["status"] == 0 for row in run_all(arguments)) else 1
    except ValueError as error:  # the folder is not for this
        print(f"error: {error}", file=sys.stderr)
        return 1


def _luggage(arguments: argparse.Namespace) -> int:
    """Cut, join or prepare what travels; prints what was made, 1 for a file that is not there or not whole."""
    from l2m_utils.experiments.gpu import pieces

    try:
        if arguments.cut:
            made = pieces.cut(arguments.cut, arguments.data)
        elif arguments.join:
            made = [pieces.join(arguments.data)]
        else:
            from l2m_utils.experiments.gpu.ruler import prepare

            made = [prepare(arguments.data).folder]
    except (OSError, ValueError, ImportError) as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    print("\n".join(map(str, made)))
    return 0
