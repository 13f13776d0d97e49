"""Execute the notebooks, build, check, publish and show the book; `make` calls these commands.

Each imports what it needs when it is called, so that a build that has nothing to do is quick.
"""

from __future__ import annotations

import argparse
import contextlib
import os
import shutil
import sys
import time
from pathlib import Path

from l2m_utils.book.arguments import check_plain, positive_number, split_words, with_advice
from l2m_utils.book.environment import PARENT
from l2m_utils.book.errors import BuildError
from l2m_utils.project import CHECKOUT, PROJECT

BUILDS = PROJECT / "_build"
CACHES = (".snakemake", ".cache", ".pytest_cache", ".hypothesis")


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the commands to ``parser``; :func:`run` takes what it parses."""
    commands = parser.add_subparsers(required=True, metavar="COMMAND")

    def command(function, help: str, *options: str) -> argparse.ArgumentParser:
        name = function.__name__.replace("_", "-")
        added = commands.add_parser(name, help=help, description=help)
        added.set_defaults(book_command=function)
        if "build" in options:
            add_which(added)
        if "jobs" in options:
            added.add_argument("--jobs", default="2", help="processor cores to use (default: 2)")
            added.add_argument("--engine", default="", help="further options for Snakemake, as one word")
        return added

    command(build, "execute what changed and build the HTML of one tier and text", "build", "jobs")
    command(corpus, "check the text of a build and describe it in its corpus.json", "build")
    added = command(notebook, "execute one notebook of a planned build; Snakemake calls it")
    added.add_argument("name", help="section/name")
    added.add_argument("--folder", type=Path, default=Path(), help="the build folder (default: the working folder)")
    added = command(html, "build the HTML of a build whose notebooks are executed", "build")
    added.add_argument(
        "--edition", default="reader", help="reader, student or instructor (default: reader, the public site)"
    )
    command(pdf, "print the whole book of a build to one PDF, beside its pages and linked from them", "build")
    command(check_usage, "check that what the cells of a build used are declared inputs of their pages", "build")
    added = command(publish, "copy the small records of a build to results/", "build")
    added.add_argument("notebooks", nargs="*", help="only these notebooks (default: all that the build executed)")
    added = command(reproduce, "compute a tier from nothing and compare it with the published records", "build", "jobs")
    added.add_argument("--resume", action="store_true", help="go on with an interrupted run")
    command(status, "print results/reproduction.json as a table")
    added = command(serve, "show a built book on this machine", "build")
    added.add_argument("--port", type=int, default=8000)
    added = command(release, "give the next release its version and date wherever they stand")
    added.add_argument("version", help="three numbers, such as 0.2.0")
    added.add_argument("--date", default="", help="day of the release (default: today, in UTC)")
    added = command(release_notes, "print what the change log says of a release; fails if its tag is not the version")
    added.add_argument("tag", help="such as v0.2.0")
    command(archive, "write source, site, licences and checksums of this commit into one zip file", "build")
    command(clean, "remove builds and caches, unless a build is running")


def add_which(parser: argparse.ArgumentParser) -> None:
    """Add ``--tier`` and ``--corpus``, which :func:`place_and_folder` reads."""
    parser.add_argument("--tier", default="laptop", help="smoke, laptop, gpu or cluster (default: laptop)")
    parser.add_argument("--corpus", default="python-docs", help="name or path of a text (default: python-docs)")


def run(options: argparse.Namespace) -> int:
    """Run the chosen command; what a person can mend becomes one message on stderr and exit status 1."""
    try:
        if parent := os.environ.pop(PARENT, ""):
            from l2m_utils.book.processes import die_with_parent

            die_with_parent(int(parent))
        if not CHECKOUT:
            raise BuildError(
                "l2m book works in a checkout of the project, which holds the notebooks and pages; this is an installed library"
            )
        check_plain("the path of this checkout", str(PROJECT))
        if "corpus" in options:
            check_plain("CORPUS or --corpus", options.corpus)
        if "jobs" in options:
            options.jobs, options.engine = positive_number(options.jobs), split_words(options.engine)
        options.book_command(options)
    except KeyboardInterrupt:
        print("interrupted; finished notebooks are kept, the next run goes on from there", file=sys.stderr)
        return 130
    except BuildError as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    except OSError as error:
        print(f"error: {with_advice(error)}", file=sys.stderr)
        return 1
    except ValueError as error:
        from l2m_utils.records import RecordError
        from l2m_utils.text.documents import CorpusError

        if isinstance(error, RecordError):
            print(f"error: {error}", file=sys.stderr)
            return 1
        if not isinstance(error, CorpusError):
            raise
        print(f"error: {error}\n  (the text is chosen with CORPUS=… of make, or --corpus)", file=sys.stderr)
        return 1
    return 0


def build(options: argparse.Namespace) -> None:
    """Execute what changed and build the HTML; when nothing changed since the last whole build, say so and stop."""
    from l2m_utils.book import fingerprints
    from l2m_utils.book.locks import build_lock
    from l2m_utils.book.status import print_build
    from l2m_utils.text.files import files_of

    start = time.perf_counter()
    place, folder = place_and_folder(options)
    files = files_of(place.path) if place.path else []
    with build_lock(folder, "make book") as lock:
        changed = fingerprints.changes(folder, place.source, files)
        if changed is None or changed:
            hashes = fingerprints.Hashes(fingerprints.read_stamp(folder)["files"])
            (folder / "stamp.json").unlink(missing_ok=True)
            inputs = hashes.note(fingerprints.input_files(files))
            jobs = _jobs_if_pages_changed(folder, changed) or _execute(options, place, folder, lock, hashes)
            _build_html(folder, jobs, lock)
            fingerprints.write_stamp(folder, place.source, inputs, fingerprints.Hashes(inputs))
        print_build(folder, started=start)
    print(f"\nstart page: {_shown(folder / 'html' / 'index.html')}   (`make serve` shows it in a browser)")


def corpus(options: argparse.Namespace) -> None:
    """Read the text of a build, check that there is enough of it, and write what it holds to the build's ``corpus.json``."""
    from l2m_utils.book import corpus as text
    from l2m_utils.book.fingerprints import Hashes
    from l2m_utils.book.locks import build_lock
    from l2m_utils.book.plan import load_plan, of_text

    place, folder = place_and_folder(options)
    with build_lock(folder, "corpus"):
        found = text.ensure(folder, place, Hashes(), of_text(load_plan(options.tier)))
    print(
        f"{found['name']}: {found['documents']:,} documents, {found['bytes']:,} bytes, from {found['source']}; {found['note']}"
    )


def notebook(options: argparse.Namespace) -> None:
    """Execute one notebook of a planned build; what is wrong is also left in the build's ``errors`` for the front door."""
    from l2m_utils.book.execute import execute
    from l2m_utils.book.jobs import KILLED, error_file, read_jobs
    from l2m_utils.book.processes import WATCHED, end_with
    from l2m_utils.files import write_atomically

    if WATCHED in os.environ:
        end_with(os.environ[WATCHED])
    folder = options.folder.resolve()
    jobs = read_jobs(folder)
    if options.name not in jobs:
        raise BuildError(f"no notebook {options.name!r} in this build; it has {', '.join(sorted(jobs))}")
    job = jobs[options.name]
    print(f"running  {job.name} (tier {job.tier})", flush=True)
    start = time.perf_counter()
    # Who is killed says nothing any more, so what there is to say then stands there from the beginning.
    said = write_atomically(error_file(folder, job.name), KILLED.format(name=job.name).encode())
    try:
        execute(job, folder)
    except (BuildError, OSError) as error:
        write_atomically(said, f"{error}\n".encode())
        raise
    said.unlink()
    print(f"done     {job.name} in {time.perf_counter() - start:.0f} s", flush=True)


def html(options: argparse.Namespace) -> None:
    """Build the HTML of a build whose notebooks are executed; an edition other than the public one lies below ``editions``."""
    from l2m_utils.book.editions import EDITIONS
    from l2m_utils.book.html import build_html
    from l2m_utils.book.jobs import read_jobs
    from l2m_utils.book.locks import build_lock

    if options.edition not in EDITIONS:
        raise BuildError(f"--edition: got {options.edition!r}, expected one of {', '.join(EDITIONS)}")
    _, folder = place_and_folder(options)
    with build_lock(folder, "html") as lock:
        if options.edition != "reader":
            print(_shown(build_html(folder, lock, options.edition)))
            return
        _build_html(folder, read_jobs(folder), lock)
    print(_shown(folder / "html" / "index.html"))


def pdf(options: argparse.Namespace) -> None:
    """Build the HTML of a build whose notebooks are executed, and print it to one PDF; says how long that took and how large it is."""
    from l2m_utils.book.html import ensure_pdf
    from l2m_utils.book.jobs import read_jobs
    from l2m_utils.book.locks import build_lock
    from l2m_utils.book.site import PDF

    start = time.perf_counter()
    _, folder = place_and_folder(options)
    with build_lock(folder, "pdf") as lock:
        _build_html(folder, read_jobs(folder), lock)
        made = ensure_pdf(folder)
    path = folder / "html" / PDF
    took = f"in {time.perf_counter() - start:.0f} s" if made else "is of these pages already"
    print(f"{_shown(path)}: {path.stat().st_size / 1e6:.1f} MB, {took}")


def check_usage(options: argparse.Namespace) -> None:
    """Compare what the cells of a build used with the declared inputs of their pages."""
    from l2m_utils.book import usage
    from l2m_utils.book.plan import load_plan
    from l2m_utils.text.files import files_of

    place, folder = place_and_folder(options)
    wrong = usage.check_usage(load_plan(options.tier), folder, files_of(place.path) if place.path else [])
    if wrong:
        raise BuildError("what cells used and what their pages depend on differ:\n  " + "\n  ".join(wrong))
    print("every module and file that the cells used is a declared input")


def publish(options: argparse.Namespace) -> None:
    """Copy the small records of a build to ``results/``."""
    from l2m_utils.book.locks import build_lock
    from l2m_utils.book.publish import publish_records

    _, folder = place_and_folder(options)
    with build_lock(folder, "publish"):
        for path in publish_records(folder, options.notebooks):
            print(_shown(path))


def reproduce(options: argparse.Namespace) -> None:
    """Compute a tier from nothing, and fail when a published record has changed by more than its interval."""
    from l2m_utils.book.fingerprints import Hashes
    from l2m_utils.book.locks import build_lock
    from l2m_utils.book.publish import NOT_COMPARED, compare

    place, usual = place_and_folder(options)
    folder = usual.with_name(f"{usual.name}-from-nothing")
    with build_lock(folder, "make reproduce") as lock:
        if not options.resume:
            shutil.rmtree(folder, ignore_errors=True)
        _execute(options, place, folder, lock, Hashes(), recompute=True)
        table = compare(folder)
    print(table.to_string(index=False) if len(table) else "no published record to compare with")
    if others := list(table["verdict"]).count(NOT_COMPARED):
        print(f"{others} record(s) of another ruler than the published ones were not compared (table above)")
    if changed := list(table["verdict"]).count("changed"):
        raise BuildError(f"{changed} record(s) changed by more than their interval (table above)")


def status(_: argparse.Namespace) -> None:
    """Print the reproduction table."""
    from l2m_utils.book.reproduction import print_reproduction

    print_reproduction()


def serve(options: argparse.Namespace) -> None:
    """Show a built book on this machine until interrupted."""
    from l2m_utils.book import serve

    _, folder = place_and_folder(options)
    serve.serve(folder, options.port)


def release(options: argparse.Namespace) -> None:
    """Write version and date of the next release into library, citation and change log."""
    from datetime import UTC, datetime

    from l2m_utils.release.versions import prepare_release

    for path in prepare_release(PROJECT, options.version, options.date or datetime.now(UTC).date().isoformat()):
        print(_shown(path))


def release_notes(options: argparse.Namespace) -> None:
    """Print the notes of the release of a tag."""
    from l2m_utils.release import versions

    print(versions.release_notes(PROJECT, options.tag), end="")


def archive(options: argparse.Namespace) -> None:
    """Write the archive of this commit to ``_build/archive``, with the site if one is built from it."""
    from l2m_utils.book.archiving import archive_build
    from l2m_utils.files import checksum

    place, folder = place_and_folder(options)
    path, with_site = archive_build(place, folder, BUILDS / "archive")
    if not with_site:
        print(f"no site is built in {_shown(folder)}: the archive holds source and records only")
    print(f"{checksum(path)}  {_shown(path)}")


def clean(_: argparse.Namespace) -> None:
    """Remove builds and caches; refuses while a build is running."""
    from l2m_utils.book.locks import clean_lock

    if BUILDS.exists():
        with clean_lock(BUILDS) as lock:
            for path in BUILDS.iterdir():
                if path != lock:
                    _remove(path)
        with contextlib.suppress(OSError):  # a build may have begun since
            BUILDS.rmdir()
    for name in CACHES:
        _remove(PROJECT / name)


def place_and_folder(options: argparse.Namespace):
    """The text that ``--corpus`` means, and the folder of its build at ``--tier``; raises :class:`BuildError` for a tier that is none."""
    from l2m_utils.book.corpus import build_folder
    from l2m_utils.project import TIERS
    from l2m_utils.text.corpora import locate

    if options.tier not in TIERS:
        raise BuildError(f"unknown tier {options.tier!r}: expected one of {', '.join(TIERS)} (TIER=…)")
    place = locate(options.corpus)
    return place, build_folder(BUILDS, options.tier, place)


def _jobs_if_pages_changed(folder: Path, changed: set[str] | None):
    """The jobs of the last build when nothing changed but prose, which no notebook reads; then there is nothing to plan."""
    from l2m_utils.book.jobs import read_jobs

    if changed is None or not all(name.startswith("book/") for name in changed):
        return None
    jobs = read_jobs(folder)
    return None if any(changed & set(job.inputs) for job in jobs.values()) else jobs


def _execute(options: argparse.Namespace, place, folder: Path, lock, hashes, *, recompute: bool = False):
    """Check tier, notebooks and text, then execute what is stale; returns the jobs."""
    from l2m_utils.book import corpus, engine
    from l2m_utils.book.plan import load_plan, of_text

    plan = load_plan(options.tier)
    found = corpus.ensure(folder, place, hashes, of_text(plan))
    # Notebooks run in the project folder, wherever the command was given.
    inside = PROJECT / place.name
    same = place.path is not None and inside.exists() and inside.resolve() == place.path.resolve()
    argument = place.name if place.path is None or same else str(place.path.resolve())
    jobs = engine.plan_jobs(plan, argument, found, folder, hashes, recompute)
    engine.execute_jobs(folder, jobs, lock, options.jobs, hashes, options.engine)
    return jobs


def _build_html(folder: Path, jobs, lock) -> None:
    from l2m_utils.book.fingerprints import Hashes
    from l2m_utils.book.html import ensure_html
    from l2m_utils.book.jobs import notebook_outputs

    ensure_html(folder, notebook_outputs(folder, jobs), Hashes(), lock)


def _remove(path: Path) -> None:
    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(path)
    else:
        path.unlink(missing_ok=True)


def _shown(path: Path) -> str:
    return os.path.relpath(path, PROJECT) if path.is_relative_to(PROJECT) else str(path)
