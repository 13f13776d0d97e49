"""From measured cells of two-point information to every exponent that can be read off them, and to published records.

The records are ``results/laptop-<text>/estimation/two-point-at-size``; they carry the commit and the machine of the measurement.  Which choices there are, and
what is asked of them, was fixed beforehand in :mod:`l2m_utils.experiments.two_point_rules`.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import numpy as np
import pandas as pd

from l2m_utils.estimators.two_point_limit import Level, extrapolated
from l2m_utils.experiments import two_point_rules as rules
from l2m_utils.experiments.ruler_rules import SEED
from l2m_utils.experiments.two_point_cells import TwoPointCell
from l2m_utils.experiments.two_point_rules import Choice
from l2m_utils.records import Recorder, load_values
from l2m_utils.stats.decay import RELEASED_START, curvature, fit_decay, fitted_plateaus, straightness
from l2m_utils.stats.decay_profile import EXPONENTS, WeightedDecay, weighted_decay
from l2m_utils.stats.jackknife import jackknife_interval

_NOTEBOOK = "estimation/two-point-at-size"
RECORDS = {"openings": "openings", "books": "books", "wiki": "wiki-plain"}  # of a text in the rules, and of its records
STARTS = {"released": RELEASED_START, "interior": 1.0}


def corrected(level: Level) -> Level:
    """A level of :class:`~l2m_utils.experiments.two_point_cells.TwoPointCell` less its null across groups: k distances, then what documents share, in nats."""
    values, without = level.values, level.without
    kept = [*range(values.size - 2), values.size - 1]
    return Level(level.parts, values[kept] - values[-2], without[:, kept] - without[:, -2:-1])


def weighted(cell: TwoPointCell, choice: Choice) -> WeightedDecay:
    """The fit in nats of a choice with weights ``gls``."""
    level = corrected(extrapolated(cell.levels) if choice.extrapolated else cell.levels[0])
    used = np.flatnonzero(cell.distances >= choice.first)
    values, without, share, shares = (
        level.values[used],
        level.without[:, used],
        level.values[-1],
        level.without[:, -1],
    )
    measured = {"null": share, "null_without": shares} if choice.plateau == "joint" else {}
    held = {"plateau": 0.0} if choice.plateau == "zero" else {}
    return weighted_decay(cell.distances[used], values, without, **measured, **held)


def read_choice(cell: TwoPointCell, choice: Choice) -> dict:
    """One row of the table of choices: α with its interval, C and A, and what is to be known of the fit.

    Columns besides those of the choice: ``alpha``, ``low``, ``high``, ``constant``, ``prefactor`` (nats), ``p_value``, ``remark``.  Where no fit can be made α is
    missing and the interval is all exponents that are looked at.
    """
    row = {"choice": choice.name, "first": choice.first}
    row |= {"last": int(cell.distances[-1]), "weights": choice.weights, "plateau": choice.plateau}
    row |= {"extrapolated": choice.extrapolated, "marginals": choice.marginals}
    used = cell.distances >= choice.first
    try:
        if choice.marginals == "tokens":
            values, without = cell.published, cell.published_without
        elif choice.extrapolated:
            level = corrected(extrapolated(cell.levels))
            values, without = level.values[:-1], level.without[:, :-1]
        else:
            values, without = cell.levels[0].values[:-2], cell.levels[0].without[:, :-2]
        if choice.weights == "gls":
            found = weighted(cell, choice)
            remark = "" if found.bounded else "the interval ends nowhere"
            row |= {"alpha": found.alpha, "low": found.interval[0], "high": found.interval[1]}
            return row | _rest(found.plateau, found.prefactor, found.p_value, remark)
        fit = fit_decay(cell.distances[used], values[used], without[:, used], start=STARTS[choice.plateau])
    except ValueError as error:  # too few documents, or an estimate that is not positive and has no logarithm
        row |= {"alpha": np.nan, "low": EXPONENTS[0], "high": EXPONENTS[1]}
        return row | _rest(np.nan, np.nan, np.nan, str(error))
    remark = "no minimum above C = 0" if fit.plateau < 1e-9 * values[used].min() else ""
    row |= {"alpha": fit.alpha, "low": fit.intervals["alpha"][0], "high": fit.intervals["alpha"][1]}
    return row | _rest(fit.plateau, fit.prefactor, np.nan, remark)


def _rest(constant: float, prefactor: float, p_value: float, remark: str) -> dict:
    return {"constant": constant, "prefactor": prefactor, "p_value": p_value, "remark": remark}


def choice_table(cells: Mapping[int, TwoPointCell], main: int = rules.MAIN_VOCABULARY) -> pd.DataFrame:
    """Every choice of the rules whose vocabulary was measured, a row each, the main one first: see :func:`read_choice`.

    ``cells`` by vocabulary; ``main`` is that of the choices that name none.
    """
    rows = []
    for choice in rules.CHOICES:
        size = choice.vocabulary or main
        if size in cells and choice.vocabulary != main:
            rows.append({"vocabulary": size, **read_choice(cells[size], choice)})
    return pd.DataFrame(rows)


def line_exponents(distances: np.ndarray, rest: np.ndarray, first: int = 1) -> np.ndarray:
    """α of the least-squares line of log ``rest`` (b, k) from distance ``first`` on, (b,).

    >>> line_exponents(np.array([1, 2, 4]), np.array([[1.0, 0.5, 0.25], [4.0, 2.0, 0.5]]), first=2).round(6).tolist()
    [1.0, 2.0]
    """
    used = distances >= first
    return -np.polynomial.polynomial.polyfit(np.log(distances[used]), np.log(rest[:, used]).T, 1)[1]


def shape_table(cells: Mapping[int, TwoPointCell]) -> pd.DataFrame:
    """Is it one power law?  Curvature and straightness of all groups' curve, a row for each vocabulary and constant.

    Columns ``vocabulary``, ``plateau``, ``constant`` (nats), ``curvature``, ``curvature_low``, ``curvature_high``
    (:func:`l2m_utils.stats.decay.curvature`), and in the same way ``bend`` (α from d = 8 on less that of all distances), ``r2`` (of the line) and ``gain``
    (R² less that without correction).
    """
    rows = []
    for vocabulary, cell in cells.items():
        curves = np.vstack([cell.levels[0].values, cell.levels[0].without])
        raw, distances = curves[:, :-2], cell.distances
        constants = {
            "none": np.zeros(len(raw)),
            "interior": fitted_plateaus(distances, raw),
            "released": fitted_plateaus(distances, raw, RELEASED_START),
            "across": curves[:, -2],
            "within": curves[:, -1],
        }
        plain = np.array([straightness(distances, each) for each in raw])
        for name, constant in constants.items():
            rest = raw - constant[:, None]
            if not (rest > 0).all():
                continue
            bent, bounds = curvature(distances, rest[0], rest[1:])
            turn = line_exponents(distances, rest, rules.BEND_FROM) - line_exponents(distances, rest)
            straight = np.array([straightness(distances, each) for each in rest])
            gain = straight - plain
            row = {"vocabulary": vocabulary, "plateau": name, "constant": constant[0], "curvature": bent}
            row |= {"curvature_low": bounds[0], "curvature_high": bounds[1]}
            for label, each in (("bend", turn), ("r2", straight), ("gain", gain)):
                low, high = jackknife_interval(each[0], each[1:])
                row |= {label: each[0], f"{label}_low": low, f"{label}_high": high}
            rows.append(row)
    return pd.DataFrame(rows)


def limit_curves(cells: Mapping[int, TwoPointCell]) -> pd.DataFrame:
    """Î_d in nats by vocabulary and distance: ``mi`` with its error, ``published`` marginals, and ``limit``, less the null across groups and extrapolated."""
    rows = []
    for vocabulary, cell in cells.items():
        all_groups, limit = cell.levels[0], corrected(extrapolated(cell.levels))
        errors, limit_errors = (np.sqrt(np.diag(each.covariance)) for each in (all_groups, limit))
        for j, distance in enumerate(cell.distances.tolist()):
            row = {"vocabulary": vocabulary, "distance": distance, "mi": all_groups.values[j]}
            row |= {"standard_error": errors[j], "across": all_groups.values[-2]}
            row |= {"published": cell.published[j] if cell.published.size else np.nan}
            row |= {"within": all_groups.values[-1], "limit": limit.values[j], "limit_error": limit_errors[j]}
            rows.append(row)
    return pd.DataFrame(rows)


def share_table(cells: Mapping[int, TwoPointCell]) -> pd.DataFrame:
    """What two tokens share by being of one document, in nats, by vocabulary and number of groups (``parts`` 0: extrapolated to infinitely many)."""
    rows = []
    for vocabulary, cell in cells.items():
        groups = len(cell.levels[0].without)
        for level in [*cell.levels, extrapolated(cell.levels)]:
            own = corrected(level)
            low, high = own.interval(-1)
            number = groups / level.parts if level.parts else np.inf
            row = {"vocabulary": vocabulary, "parts": level.parts, "groups": number, "across": level.values[-2]}
            rows.append(row | {"share": own.values[-1], "low": low, "high": high})
    return pd.DataFrame(rows)


def publish(folder: Path, target: Path) -> list[Path]:
    """Write the records of every text of which ``folder`` holds the cell of the main vocabulary below ``target``; their folders.

    Raises ``ValueError`` when there is none, or the cells of a text were measured at different commits.
    """
    homes = []
    for text in rules.TEXTS:
        paths = {size: folder / f"{text.name}-{size}.parquet" for size in sorted(text.vocabularies)}
        if not paths[rules.MAIN_VOCABULARY].exists():
            continue
        cells = {size: TwoPointCell.load(path) for size, path in paths.items() if path.exists()}
        commits = {cell.note["commit"] for cell in cells.values()}
        if len(commits) > 1 or next(iter(commits)).endswith("+changes"):
            raise ValueError(
                f"cells of {text.name} were measured at {', '.join(sorted(commits))}: measure them anew at one clean commit"
            )
        made = {name: cells[rules.MAIN_VOCABULARY].note[name] for name in ("commit", "hardware")}
        run = Recorder(
            _NOTEBOOK, "laptop", RECORDS[text.name], SEED, target / f"laptop-{RECORDS[text.name]}", made=made
        )
        _publish_text(run, cells)
        homes.append(run.home)
    if not homes:
        raise ValueError(f"{folder} holds no text with the vocabulary of {rules.MAIN_VOCABULARY:,}: measure it first")
    return homes


def _publish_text(run: Recorder, cells: Mapping[int, TwoPointCell]) -> None:
    """Tables, and the values that rows of the reproduction ask."""
    main = cells[rules.MAIN_VOCABULARY]
    choices = run.table("choices", choice_table(cells))
    run.table("profile", weighted(main, rules.MAIN).profile)
    run.table("curves", limit_curves(cells))
    shapes = run.table("shapes", shape_table(cells))
    shares = run.table("shares", share_table(cells))
    notes = [{"vocabulary": size, **cell.note} for size, cell in cells.items()]
    run.table("cells", pd.DataFrame(notes).drop(columns=["commit", "hardware"]))
    for size, cell in cells.items():
        run.table(f"cell-{size}", cell.table())

    own, what = choices.to_dict("records")[0], f"{main.note['groups']} groups, {main.note['documents']} documents"
    span = f"d = {own['first']} to {own['last']}, vocabulary {own['vocabulary']:,}, {what}"
    size = rules.MAIN_VOCABULARY
    if lacking := record_alpha(run, choices, f"GLS in nats, {span}"):
        raise ValueError(f"{run.corpus}: the main choice has no exponent: {lacking}")
    run.value("alpha-law-p", own["p_value"], unit="", note="of χ² of the main choice, Hotelling's F")
    run.value("prefactor", own["prefactor"], unit="nats", note="A of the main choice")
    run.value("plateau", own["constant"], unit="nats", note="C of the main choice, above the null across groups")

    if lacking := record_shapes(run, shapes, size):
        raise ValueError(f"{run.corpus}: {lacking}")
    for row in shares.to_dict("records"):
        if row["vocabulary"] == size and row["parts"] in (0, 1):
            name, how = (
                ("-upper", "all groups: an upper estimate") if row["parts"] else ("", "extrapolated in 1/groups")
            )
            note = f"what two tokens share by being of one document; {how}"
            bounds = (row["low"], row["high"])
            run.value(f"document-information{name}", row["share"], unit="nats", interval=bounds, note=note)
    run.table("values", _values(run))


def record_shapes(run: Recorder, shapes: pd.DataFrame, vocabulary: int) -> str:
    """Values of a :func:`shape_table`: of the interior minimum at one vocabulary, and ``…-choices`` with the hull over all that were measured.

    Returns an empty text; or, for a table without that row, why it has none, and then nothing is recorded.
    """
    rows = [row for row in shapes.to_dict("records") if row["plateau"] in rules.CONSTANTS]
    own = [row for row in rows if row["vocabulary"] == vocabulary and row["plateau"] == "interior"]
    if not own:
        return f"no constant of the published rule leaves all estimates at vocabulary {vocabulary:,} positive"
    for name, column, note in (
        ("curvature", "curvature", "local exponent at the last distance less that at the first"),
        ("bend", "bend", "exponent from d = 8 on less that of all distances"),
        ("straightening", "gain", "R² of the line on logarithmic axes, with C less without"),
        ("line-r2", "r2", "R² of the line on logarithmic axes"),
    ):
        value, bounds = own[0][column], (own[0][f"{column}_low"], own[0][f"{column}_high"])
        where = f"C at the interior minimum, vocabulary {vocabulary:,}"
        run.value(name, value, unit="", interval=bounds, note=f"{note}; {where}")
        hull = min(row[f"{column}_low"] for row in rows), max(row[f"{column}_high"] for row in rows)
        run.value(f"{name}-choices", value, unit="", interval=hull, note="hull over vocabularies and constants")
    return ""


def record_alpha(run: Recorder, choices: pd.DataFrame, note: str) -> str:
    """Values of a :func:`choice_table`: α of the main choice, the hull of the intervals of all, and the least and greatest exponent.

    Returns an empty text; or why the main choice has no exponent, and then nothing is recorded.
    """
    rows = choices.to_dict("records")
    own, fitted = rows[0], [row for row in rows if np.isfinite(row["alpha"])]
    if own not in fitted:
        return own["remark"]
    run.value("alpha", own["alpha"], unit="", interval=(own["low"], own["high"]), note=f"main choice, {note}")
    hull = min(row["low"] for row in rows), max(row["high"] for row in rows)
    run.value(
        "alpha-choices", own["alpha"], unit="", interval=hull, note=f"hull of the intervals of {len(rows)} choices"
    )
    ranked = sorted(fitted, key=lambda row: row["alpha"])
    for name, row in (("low", ranked[0]), ("high", ranked[-1])):
        run.value(f"alpha-choices-{name}", row["alpha"], unit="", note=f"exponent of: {row['choice']}")
    return ""


def _values(run: Recorder) -> pd.DataFrame:
    """The numbers that were recorded, as one table, so that a page can depend on a file whose change a build sees."""
    rows = []
    for identifier, record in load_values(run.folder).items():
        low, high = record["interval"] or (np.nan, np.nan)
        name = identifier.partition(":")[2]
        if identifier.startswith(run.notebook):
            rows.append(
                {"name": name, "value": float(record["value"]), "low": low, "high": high, "note": record["note"]}
            )
    return pd.DataFrame(rows)
