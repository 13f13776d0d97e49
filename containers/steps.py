"""Run the steps of the Dockerfile without a container engine: every stage in a copy of a root file system, by chroot.

  python containers/steps.py ROOT            where ROOT is the unpacked base image, or what debootstrap made with Python added; as root
  python containers/steps.py ROOT --bind /opt/wheels --build-arg TORCH_INDEX= --keep FOLDER

It reads the instructions that the Dockerfile uses and refuses others; RUN, COPY, ENV, ARG, WORKDIR and USER do what they say.
"""

from __future__ import annotations

import argparse
import json
import os
import re
import shlex
import shutil
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass, field
from fnmatch import fnmatch
from pathlib import Path

HERE = Path(__file__).resolve().parent
KNOWN = {"FROM", "ARG", "ENV", "RUN", "COPY", "WORKDIR", "USER", "EXPOSE", "CMD"}


@dataclass
class Stage:
    """One stage: its name, what it begins from, and its instructions as (word, rest)."""

    name: str
    base: str
    steps: list[tuple[str, str]] = field(default_factory=list)


def expand(text: str, values: dict[str, str]) -> str:
    """The variables of a Dockerfile, replaced: ``$NAME``, ``${NAME}`` and ``${NAME:+word}``.

    >>> expand("${A}${B:+@${B}}", {"A": "x", "B": ""}), expand("${A}${B:+@${B}}", {"A": "x", "B": "y"})
    ('x', 'x@y')
    """
    text = re.sub(
        r"\$\{(\w+):\+((?:[^{}]|\{[^{}]*\})*)\}", lambda m: expand(m[2], values) if values.get(m[1]) else "", text
    )
    return re.sub(r"\$(?:\{(\w+)\}|(\w+))", lambda m: values.get(m[1] or m[2], ""), text)


def read_dockerfile(text: str, given: dict[str, str]) -> list[Stage]:
    """The stages of a Dockerfile, with the build arguments ``given``; ``ValueError`` for an instruction that is not known."""
    values: dict[str, str] = {}
    stages: list[Stage] = []
    lines = [line for line in text.splitlines() if line.strip() and not line.startswith("#")]
    for line in "\n".join(lines).replace("\\\n", " ").splitlines():
        word, rest = line.split(maxsplit=1)
        if word not in KNOWN:
            raise ValueError(f"{word}: expected one of {', '.join(sorted(KNOWN))}")
        if word == "FROM":
            base, *name = re.split(r"\s+AS\s+", expand(rest, values))
            stages.append(Stage(name[0] if name else "", base))
        elif not stages:  # before the first stage there are arguments only
            key, _, default = rest.partition("=")
            values[key] = given.get(key, default.strip('"'))
        else:
            stages[-1].steps.append((word, rest))
    return stages


def needed(stages: list[Stage]) -> list[Stage]:
    """The stages that the last one is built of, itself included, in order."""
    wanted, names = [], {stages[-1].name or stages[-1].base}
    for stage in reversed(stages):
        if stage is stages[-1] or stage.name in names:
            wanted.append(stage)
            names |= {stage.base, *(m for _, rest in stage.steps for m in re.findall(r"--from=(\S+)", rest))}
    return wanted[::-1]


class Runner:
    """Builds stages below ``work``; each is a copy of ``root``, or of the stage that it begins from."""

    def __init__(self, root: Path, context: Path, work: Path, given: dict[str, str], bind: list[Path]):
        self.root, self.context, self.work, self.given, self.bind = root, context, work, given, bind
        self.built: dict[str, tuple[Path, dict[str, str]]] = {}
        ignored = (context / ".dockerignore").read_text().splitlines()
        self.ignored = [line.removeprefix("**/") for line in ignored if line and not line.startswith("#")]

    def build(self, stage: Stage) -> tuple[Path, dict[str, str]]:
        """Run the steps of one stage; returns its folder and its environment."""
        source, inherited = self.built.get(stage.base, (self.root, {}))
        home = self.work / (stage.name or "last")
        subprocess.run(["cp", "-a", "--reflink=auto", source, home], check=True)
        env = {"PATH": "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"} | inherited
        place, user, arguments = env.pop("", "/"), "", {}
        for word, rest in stage.steps:
            began = time.perf_counter()
            if word == "ARG":
                key, _, default = rest.partition("=")
                arguments[key] = self.given.get(key, default)
            elif word == "ENV":
                for part in shlex.split(rest):
                    key, _, value = part.partition("=")
                    env[key] = expand(value, arguments | env)
            elif word == "WORKDIR":
                place = rest
                (home / place.lstrip("/")).mkdir(parents=True, exist_ok=True)
            elif word == "USER":
                user = rest
            elif word == "COPY":
                self.copy(home, place, rest)
            elif word == "RUN":
                self.run(home, place, user, {**arguments, **env}, ["/bin/sh", "-c", rest])
            elif word == "CMD":
                self.run(home, place, user, env, json.loads(rest))
            print(f"{time.perf_counter() - began:6.1f} s  {stage.name or 'last'}: {word} {rest[:90]}", flush=True)
        self.built[stage.name] = home, {**env, "": place}
        return home, env

    def copy(self, home: Path, place: str, rest: str) -> None:
        """COPY from the context (less what .dockerignore names) or from a stage."""
        words = rest.split()
        options = dict(word[2:].split("=") for word in words if word.startswith("--"))
        *names, target = [word for word in words if not word.startswith("--")]
        to = home / (target if target.startswith("/") else f"{place}/{target}").lstrip("/")
        origin = self.built[options["from"]][0] if "from" in options else self.context
        for name in names:
            found = origin / name.lstrip("/")
            if found.is_dir():
                skip = None if "from" in options else self.skipped
                shutil.copytree(found, to, dirs_exist_ok=True, symlinks=True, ignore=skip)
            else:
                to.mkdir(parents=True, exist_ok=True)
                shutil.copy2(found, to)
        if "chown" in options:
            subprocess.run(["chown", "-R", options["chown"], to], check=True)

    def skipped(self, folder: str, names: list[str]) -> set[str]:
        """What .dockerignore keeps out."""
        return {name for name in names if any(fnmatch(name, pattern) for pattern in self.ignored)}

    def run(self, home: Path, place: str, user: str, env: dict[str, str], command: list[str]) -> None:
        """A command in the stage, with the folders that are bound and the package index of this machine."""
        local = {key: value for key, value in os.environ.items() if key.startswith(("PIP_", "UV_"))}
        local = {key: value for key, value in local.items() if key != "PIP_EXTRA_INDEX_URL"}
        mounts = [Path("/proc"), Path("/dev"), *self.bind]
        for path in mounts:
            inside = home / str(path).lstrip("/")
            if path.is_dir():
                inside.mkdir(parents=True, exist_ok=True)
            else:
                inside.parent.mkdir(parents=True, exist_ok=True)
                inside.touch()
            subprocess.run(["mount", "--rbind", path, inside], check=True)
        try:
            whom = [f"--userspec={user}"] if user else []
            words = ["chroot", *whom, str(home), "/bin/sh", "-c", 'cd "$0" && exec "$@"', place, *command]
            subprocess.run(words, env=local | env, check=True, stdout=sys.stderr)
        finally:
            for path in reversed(mounts):
                subprocess.run(["umount", "--recursive", "--lazy", home / str(path).lstrip("/")], check=True)


def main() -> int:
    """Build the last stage and run its command; 1 if a step fails."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("root", type=Path, help="root file system that stands for the base image")
    parser.add_argument("--build-arg", action="append", default=[], metavar="NAME=VALUE")
    parser.add_argument(
        "--bind", action="append", default=[], type=Path, help="file or folder that every step shall see"
    )
    parser.add_argument("--keep", type=Path, help="where the stages are left (default: removed)")
    options = parser.parse_args()
    given = dict(word.split("=", 1) for word in options.build_arg)
    work = options.keep or Path(tempfile.mkdtemp(prefix="stages-"))
    work.mkdir(parents=True, exist_ok=True)
    try:
        context = work / "context"
        subprocess.run(["git", "clone", "--quiet", HERE.parent, context], check=True)
        runner = Runner(options.root, context, work, given, options.bind)
        for stage in needed(read_dockerfile((HERE / "Dockerfile").read_text(), given)):
            runner.build(stage)
    except subprocess.CalledProcessError as error:
        print(f"error: a step failed: {error}", file=sys.stderr)
        return 1
    finally:
        if not options.keep:
            shutil.rmtree(work)
    return 0


if __name__ == "__main__":
    sys.exit(main())
