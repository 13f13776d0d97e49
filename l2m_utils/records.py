"""Records: the only way in which a number or a figure leaves a notebook.

A notebook makes one :class:`Recorder`; each value, table and figure that it saves becomes a small
file with its provenance (notebook, tier, corpus, seed, commit, hardware).  Pages, the reproduction
table and other notebooks read those files; nothing is typed twice.

Layout below the records folder::

    <section>/<notebook>/values/<name>.json
    <section>/<notebook>/tables/<name>.parquet
    <section>/<notebook>/figures/<name>.svg, .png, .csv, .json, <name>.narrow.svg   (alt text and caption in .json, what is drawn in .csv)
    <section>/<notebook>/shown/<name>.json, .csv   (a table as the page shows it, and its numbers)
"""

from __future__ import annotations

import hashlib
import io
import json
import math
import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from l2m_utils.files import checksum, write_atomically, write_json
from l2m_utils.project import CHECKOUT, PROJECT, RESULTS, TIERS, commit, hardware
from l2m_utils.rulers import of_ruler, rulers_differ
from l2m_utils.tables import decimals, format_number

_NAME = re.compile(r"[a-z0-9]+(-[a-z0-9]+)*")


# A table holds the SHA-256 of its own file, taken with zeros in this place.
_MARK, _UNKNOWN = b"l2m-sha256:", b"0" * 64


class RecordError(ValueError):
    """A record is missing, unreadable, or was asked for under a name that cannot exist."""


def _check_name(name: str) -> str:
    if not _NAME.fullmatch(name):
        raise RecordError(f"record name {name!r}: expected lower-case words joined by hyphens, such as 'beta-direct'")
    return name


def check_rulers(folder: str | Path, notebook: str, models: Mapping[str, str] | str) -> None:
    """Refuse to replace records of another ruler, whose place below ``folder`` is the same: no path names the ruler.

    ``models`` is the field ``model`` of each id that is to be written, or that of all.  Raises :class:`RecordError` with what lies there.
    """
    for identifier, old in load_values(folder, notebook).items():
        new = models if isinstance(models, str) else models.get(identifier, "")
        if rulers_differ([old["model"]], [new]):
            raise RecordError(
                f"{identifier} below {folder}: got a record of {new!r}, expected one of {old['model']!r}, which lies there and would be lost; "
                f"delete {Path(folder) / notebook} first if the new one shall take its place"
            )


class Recorder:
    """Saves the results of one notebook run.

    Parameters
    ----------
    notebook : path of the notebook below ``notebooks/`` without ending, e.g. ``"estimation/two-point"``.
    tier : one of ``smoke``, ``laptop``, ``gpu``, ``cluster``.
    corpus : short name of the text used, ``"none"`` for notebooks that use no text.
    seed : the seed of the run.
    made : ``{"commit": …, "hardware": …}`` of the run that computed the results, when they are only read here.
    folder : records folder; empty means ``_build/interactive/records`` (a notebook run by hand).

    >>> import tempfile
    >>> run = Recorder("theory/example", "smoke", folder=tempfile.mkdtemp())
    >>> run.value("exponent", 0.7925, unit="", interval=(0.79, 0.795))
    0.7925
    >>> load_values(run.folder)["theory/example:exponent"]["interval"]
    [0.79, 0.795]
    """

    def __init__(
        self,
        notebook: str,
        tier: str,
        corpus: str = "none",
        seed: int = 0,
        folder: str | Path = "",
        made: dict[str, str] | None = None,
    ):
        if tier not in TIERS:
            raise RecordError(f"tier {tier!r}: expected one of {', '.join(TIERS)}")
        for word in notebook.split("/"):
            _check_name(word)
        self.notebook, self.tier, self.corpus, self.seed = notebook, tier, corpus, int(seed)
        self.folder = Path(folder) if folder else PROJECT / "_build" / "interactive" / "records"
        self.home = self.folder / notebook
        self.made = made
        self._values: list[dict[str, Any]] = []

    def _provenance(self) -> dict[str, Any]:
        return {
            "notebook": self.notebook,
            "tier": self.tier,
            "corpus": self.corpus,
            "seed": self.seed,
            **(self.made or {"commit": commit(), "hardware": hardware()}),
        }

    def value(
        self,
        name: str,
        value: float | bool | str,
        *,
        unit: str,
        interval: tuple[float, float] | None = None,
        level: float = 0.95,
        model: str = "",
        note: str = "",
    ) -> float | bool | str:
        """Save one value; ``interval`` is its confidence interval at ``level``. Returns the value.

        ``unit`` is ``"nats"``, ``"s"``, ``"tokens"``, … or ``""`` for a pure number.  Raises
        :class:`RecordError` for NaN or infinite numbers: say in the notebook what failed instead.
        """
        if isinstance(value, np.generic):
            value = value.item()
        numbers = [value] if isinstance(value, (int, float)) else []
        if interval is not None:
            interval = (float(interval[0]), float(interval[1]))
            numbers += interval
        if any(not math.isfinite(number) for number in numbers):
            raise RecordError(
                f"value {name!r} of {self.notebook}: got {value!r}, interval {interval}; expected finite numbers"
            )
        record = {
            "id": f"{self.notebook}:{_check_name(name)}",
            "value": value,
            "unit": unit,
            "interval": list(interval) if interval is not None else None,
            "level": level if interval is not None else None,
            "model": model,
            "note": note,
            **self._provenance(),
        }
        write_json(self.home / "values" / f"{name}.json", _sealed(record))
        self._values.append(record)
        return value

    def holds(self, name: str, condition: bool, claim: str) -> str:
        """Record whether a ``claim`` about data holds, and return the sentence that the page shows.

        What a page says of a text or a trained model may be false of the next one; it is no reason to stop.  An equality that is a
        theorem, or a fact of a source that is known, is asserted instead.

        >>> import tempfile
        >>> run = Recorder("theory/example", "smoke", folder=tempfile.mkdtemp())
        >>> run.holds("rises", 1.0 > 2.0, "the curve rises")
        'does not hold here: the curve rises'
        >>> load_values(run.folder)["theory/example:rises"]["value"]
        False
        """
        self.value(name, bool(condition), unit="", note=f"whether {claim}")
        return f"{'holds' if condition else 'does not hold'} here: {claim}"

    def table(self, name: str, frame: pd.DataFrame) -> pd.DataFrame:
        """Save a data frame as Parquet with the provenance in its metadata; returns the frame."""
        write_table(self.home / "tables" / f"{_check_name(name)}.parquet", frame, self._provenance())
        return frame

    def figure(self, name: str, figure, alt: str, caption: str = "", narrow=None):
        """Save a matplotlib figure as SVG (wide and narrow) and PNG, what it draws as CSV, close it, and return it for display.

        ``alt`` is a sentence or two for readers who cannot see the figure: what is drawn and what it shows.  ``caption`` is MyST: what is seen, in words.
        ``narrow`` is another matplotlib figure of the same, for phones, where the panels of ``figure`` below each other would not be legible.
        """
        from l2m_utils.drawn import data_of
        from l2m_utils.pictures import Picture, render

        if len(alt.split()) < 6:
            raise RecordError(
                f"figure {name!r} of {self.notebook}: alt text {alt!r} is too short to stand for the figure"
            )
        home = self.home / "figures"
        write_atomically(home / f"{_check_name(name)}.csv", csv_of(data_of(figure)))
        wide, small, png = render(figure, narrow)
        for ending, content in ((".svg", wide), (".narrow.svg", small), (".png", png)):
            write_atomically(home / f"{name}{ending}", content)
        about = {"id": f"{self.notebook}:{name}", "alt": alt, "caption": caption, **self._provenance()}
        write_json(home / f"{name}.json", _sealed(about))
        return Picture(wide.decode(), alt, caption, about["id"])

    def shown(self, name: str, frame: pd.DataFrame, caption: str, **style: Any):
        """Save a table as the page shows it, with its numbers as CSV, and return it for display; ``style`` as in :func:`l2m_utils.tables.sheet`.

        ``caption`` is MyST: what the rows are and what they show, in words.
        """
        from l2m_utils.tables import Shown, sheet

        if len(caption.split()) < 4:
            raise RecordError(
                f"table {name!r} of {self.notebook}: caption {caption!r} is too short to say what it shows"
            )
        try:
            made = sheet(frame, **style)
        except ValueError as error:
            raise RecordError(f"table {name!r} of {self.notebook}: {error}") from error
        home = self.home / "shown"
        counted = isinstance(frame.index, pd.RangeIndex) and frame.index.name is None
        write_atomically(home / f"{_check_name(name)}.csv", csv_of(frame if counted else frame.reset_index()))
        about = {"id": f"{self.notebook}:{name}", "caption": caption, "sheet": made.as_record(), **self._provenance()}
        write_json(home / f"{name}.json", _sealed(about))
        return Shown(made, caption, about["id"])

    def summary(self) -> pd.DataFrame:
        """The values saved so far, as the table that closes a notebook."""
        rows = [
            {
                "record": record["id"].split(":")[1],
                "value": format_value(record),
                "unit": record["unit"] or "1",
                "model": record["model"],
                "note": record["note"],
            }
            for record in self._values
        ]
        return (
            pd.DataFrame(rows).set_index("record") if rows else pd.DataFrame(columns=["value", "unit", "model", "note"])
        )


def format_value(record: dict[str, Any]) -> str:
    """Value with its interval, e.g. ``0.79 [0.77, 0.81]``: three significant digits, the ends with as many decimals; of a zero the larger end has them.

    >>> format_value({"value": 1.582, "interval": [0.588, 2.5751]}), format_value({"value": 0.76, "interval": [0.7, 0.8]})
    ('1.58 [0.59, 2.58]', '0.76 [0.70, 0.80]')
    >>> format_value({"value": 0.0, "interval": [-0.06, 0.1205]})
    '0.00 [-0.06, 0.12]'
    """
    value, ends = record["value"], record["interval"]
    if not ends:
        return format_number(value)
    leading = value or max(ends, key=abs)
    places = min(
        decimals([float(leading)], whole=False) or 0, max(_decimals_of(format_number(each)) for each in (value, *ends))
    )
    value, low, high = (f"{each:,.{places}f}" for each in (value, *ends))
    return f"{value} [{low}, {high}]"


def _decimals_of(number: str) -> int:
    mantissa, _, power = number.partition("e")
    return max(len(mantissa.partition(".")[2]) - int(power or 0), 0)


def csv_of(frame: pd.DataFrame) -> bytes:
    """The columns of a frame as comma-separated values with a line of names, in full precision."""
    return frame.to_csv(index=False, lineterminator="\n").encode()


def _checksum(record: dict[str, Any]) -> str:
    return checksum(json.dumps(record, sort_keys=True))[:16]


def _sealed(record: dict[str, Any]) -> dict[str, Any]:
    """A record with the checksum of its content: a damaged number is a number, too."""
    return {**record, "checksum": _checksum(record)}


def read_record(path: Path, expected: tuple[str, ...]) -> dict[str, Any]:
    """The record in a JSON file; raises :class:`RecordError` for one that is damaged or lacks one of the ``expected`` fields."""
    try:
        record = json.loads(path.read_text(encoding="utf-8"))
        if record.pop("checksum", "") != _checksum(record):
            raise ValueError("its content is not that of its checksum")
        if missing := [name for name in expected if name not in record]:
            raise ValueError(f"no field {', '.join(missing)}")
        if record["tier"] not in TIERS:
            raise ValueError(f"tier {record['tier']!r}, expected one of {', '.join(TIERS)}")
        return record
    except (ValueError, TypeError, AttributeError) as error:
        raise RecordError(
            f"{path} is not a readable value record ({error}); delete it and run its notebook again"
        ) from error


def load_values(folder: str | Path, notebook: str = "*/*") -> dict[str, dict[str, Any]]:
    """All value records below ``folder``, or those of one ``notebook``, by id; an unreadable file raises :class:`RecordError`."""
    fields = ("id", "notebook", "value", "unit", "interval", "model", "tier", "corpus")
    records = [read_record(path, fields) for path in sorted(Path(folder).glob(f"{notebook}/values/*.json"))]
    return {record["id"]: record for record in records}


def load_table(notebook: str, name: str, folder: str | Path = "") -> pd.DataFrame:
    """A table saved by ``notebook``: from the records ``folder`` of this build."""
    home = Path(folder) if folder else PROJECT / "_build" / "interactive" / "records"
    path = home / notebook / "tables" / f"{name}.parquet"
    if not path.exists():
        raise RecordError(f"no table {name!r} of {notebook} in {home}: run that notebook first")
    return read_table(path)[0]


def write_table(path: Path, frame: pd.DataFrame, provenance: Mapping[str, Any] | None = None) -> Path:
    """Write a data frame as Parquet that holds its ``provenance`` and the SHA-256 of its own file, atomically; :func:`read_table` reads it.

    >>> import tempfile
    >>> path = write_table(Path(tempfile.mkdtemp()) / "squares.parquet", pd.DataFrame({"n": [1, 4]}), {"seed": 3})
    >>> read_table(path)[0]["n"].sum(), read_table(path)[1]
    (np.int64(5), {'seed': 3})
    """
    import pyarrow as pa
    import pyarrow.parquet as pq

    arrow, sink = pa.Table.from_pandas(frame, preserve_index=False), pa.BufferOutputStream()
    about = {b"l2m": json.dumps(dict(provenance or {}), sort_keys=True).encode(), b"l2m-checksum": _MARK + _UNKNOWN}
    pq.write_table(arrow.replace_schema_metadata({**(arrow.schema.metadata or {}), **about}), sink, compression="zstd")
    content = sink.getvalue().to_pybytes()
    return write_atomically(
        path, content.replace(_MARK + _UNKNOWN, _MARK + hashlib.sha256(content).hexdigest().encode(), 1)
    )


def read_table(path: Path) -> tuple[pd.DataFrame, dict[str, Any]]:
    """A table of :func:`write_table` and its provenance; raises :class:`RecordError` for one that is damaged or that something else wrote."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    # Through Python's own `open`, which the build can see, and not that of Arrow.
    content = path.read_bytes()
    stream, mark = io.BytesIO(content), re.search(re.escape(_MARK) + rb"([0-9a-f]{64})", content)
    try:
        if not mark:
            raise ValueError("it has no checksum")
        whole = content[: mark.start(1)] + _UNKNOWN + content[mark.end(1) :]
        if hashlib.sha256(whole).hexdigest().encode() != mark[1]:
            raise ValueError("its SHA-256 is another one than was written into it")
        metadata = pq.read_schema(stream).metadata or {}
        frame = pd.read_parquet(stream)
        return frame, json.loads(metadata.get(b"l2m", b"{}"))
    except (pa.ArrowException, OSError, ValueError) as error:
        said = str(error).partition("\n")[0]
        raise RecordError(f"{path} is not a readable table ({said}); delete it and run again what made it") from error


def stored_table(
    notebook: str, name: str, corpus: str | None = None, results: Path = RESULTS, *, ruler: str = ""
) -> tuple[pd.DataFrame, dict[str, Any]]:
    """The table of the best published tier under ``results/``, with its provenance; with ``ruler`` only tables beside values of that model count.

    ``results/<tier>-<corpus>/<section>/<notebook>/tables/<name>.parquet``; the best tier is the last of
    :data:`TIERS` that has one.  A table was measured by the rulers that the values beside it name.  Raises :class:`RecordError`
    when none was published, and when no ``ruler`` is named and another tier of the same corpus has a table of another one.
    """
    homes = [home for tier in reversed(TIERS) for home in sorted(results.glob(f"{tier}-{corpus or '*'}"))]
    homes = [home for home in homes if (home / notebook / "tables" / f"{name}.parquet").exists()]
    if ruler:
        homes = [home for home in homes if any(of_ruler(model, ruler) for model in _models(home, notebook))]
    elif homes:
        rivals = [home for home in homes if _corpus(home) == _corpus(homes[0])]
        _check_one_ruler(f"table {name!r} of {notebook}", rivals, notebook)
    if homes:
        return read_table(homes[0] / notebook / "tables" / f"{name}.parquet")
    asked = f"corpus {corpus or 'any'}" + (f", ruler {ruler}" if ruler else "")
    mend = "run `make reproduce`" if CHECKOUT else "a checkout of the project and its archive hold them, not a wheel"
    raise RecordError(f"no published table {name!r} of {notebook} ({asked}) under {results}: {mend}")


def _corpus(home: Path) -> str:
    return home.name.partition("-")[2]


def _models(home: Path, notebook: str) -> list[str]:
    return [record["model"] for record in load_values(home, notebook).values()]


def _check_one_ruler(what: str, homes: Sequence[Path], notebook: str) -> None:
    """Raise :class:`RecordError` if the values of ``homes``, best first, name different rulers; values are read only where there are several homes."""
    models = {home: _models(home, notebook) for home in homes} if len(homes) > 1 else {}
    if any(rulers_differ(models[homes[0]], found) for found in models.values()):
        listed = "; ".join(
            f"{home.name} by {', '.join(sorted(filter(None, set(found))))}" for home, found in models.items()
        )
        raise RecordError(f"{what}: got tables of different rulers ({listed}), expected one; name it with ruler=…")


def new_or_stored_table(
    notebook: str, name: str, folder: str | Path = "", results: Path = RESULTS
) -> tuple[pd.DataFrame, dict[str, Any]]:
    """The table that ``notebook`` computed in this build (records ``folder``), else the published one; with its provenance.

    A notebook that shows stored runs saves no table, so that another one which asks here gets what the first has shown.
    """
    home = Path(folder) if folder else PROJECT / "_build" / "interactive" / "records"
    path = home / notebook / "tables" / f"{name}.parquet"
    return read_table(path) if path.exists() else stored_table(notebook, name, results=results)
