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
from l2m_utils.experiments.two_point_cells import Cell
from l2m_utils.experiments.two_point_rules import Choice
from l2m_utils.records import Recorder
from l2m_utils.stats.decay import RELEASED_START, curvature, fit_decay, fitted_plateaus, straightness
from l2m_utils.stats.decay_profile import EXPONENTS, WeightedDecay, weighted_decay
from l2m_utils.stats.jackknife import jackknife_interval

_NOTEBOOK = "estimation/two-point-at-size"
NAMES = {"openings": "openings", "books": "books", "wiki": "wiki-plain"}  # of a text in the rules, and of its records
STARTS = {"released": RELEASED_START, "interior": 1.0}


def corrected(level: Level) -> Level:
    """A level of :class:`~l2m_utils.experiments.two_point_cells.Cell` less its null across groups: k distances, then what documents share, in nats."""
    values, without = level.values, level.without
    kept = [*range(values.size - 2), values.size - 1]
    return Level(level.parts, values[kept] - values[-2], without[:, kept] - without[:, -2:-1])


def weighted(cell: Cell, choice: Choice) -> WeightedDecay:
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


def read_choice(cells: Mapping[int, Cell], choice: Choice) -> dict:
    """One row of the table of choices: α with its interval, C and A, and what is to be known of the fit.

    Columns besides those of the choice: ``alpha``, ``low``, ``high``, ``constant``, ``prefactor`` (nats), ``p_value``, ``remark``.  Where no fit can be made α is
    missing and the interval is all exponents that are looked at.
    """
    cell = cells[choice.vocabulary]
    row = {"choice": choice.name, "vocabulary": choice.vocabulary, "first": choice.first}
    row |= {"last": int(cell.distances[-1]), "weights": choice.weights, "plateau": choice.plateau}
    row |= {"extrapolated": choice.extrapolated, "marginals": choice.marginals}
    if choice.weights == "gls":
        found = weighted(cell, choice)
        remark = "" if found.bounded else "the interval ends nowhere"
        row |= {"alpha": found.alpha, "low": found.interval[0], "high": found.interval[1]}
        return row | {
            "constant": found.plateau,
            "prefactor": found.prefactor,
            "p_value": found.p_value,
            "remark": remark,
        }
    used = cell.distances >= choice.first
    if choice.marginals == "tokens":
        values, without = cell.published, cell.published_without
    elif choice.extrapolated:
        level = corrected(extrapolated(cell.levels))
        values, without = level.values[:-1], level.without[:, :-1]
    else:
        values, without = cell.levels[0].values[:-2], cell.levels[0].without[:, :-2]
    try:
        fit = fit_decay(cell.distances[used], values[used], without[:, used], start=STARTS[choice.plateau])
    except ValueError as error:  # an estimate that is not positive has no logarithm
        nothing = {"alpha": np.nan, "constant": np.nan, "prefactor": np.nan, "p_value": np.nan, "remark": str(error)}
        return row | nothing | {"low": EXPONENTS[0], "high": EXPONENTS[1]}
    low, high = fit.intervals["alpha"]
    remark = "no minimum above C = 0" if fit.plateau < 1e-9 * values[used].min() else ""
    row |= {"alpha": fit.alpha, "low": low, "high": high, "constant": fit.plateau, "prefactor": fit.prefactor}
    return row | {"p_value": np.nan, "remark": remark}


def choice_table(cells: Mapping[int, Cell]) -> pd.DataFrame:
    """Every choice of the rules whose vocabulary was measured, a row each, the main one first: see :func:`read_choice`; ``cells`` by vocabulary."""
    return pd.DataFrame([read_choice(cells, choice) for choice in rules.CHOICES if choice.vocabulary in cells])


def shape_table(cells: Mapping[int, Cell]) -> pd.DataFrame:
    """Is it one power law?  Curvature and straightness of all groups' curve, a row for each vocabulary and constant.

    Columns ``vocabulary``, ``plateau``, ``constant`` (nats), ``curvature``, ``curvature_low``, ``curvature_high``
    (:func:`l2m_utils.stats.decay.curvature`), ``r2``, ``r2_low``, ``r2_high``, and ``gain``, ``gain_low``, ``gain_high``: R² less that without correction.
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
            straight = np.array([straightness(distances, each) for each in rest])
            gain = straight - plain
            row = {"vocabulary": vocabulary, "plateau": name, "constant": constant[0], "curvature": bent}
            row |= {"curvature_low": bounds[0], "curvature_high": bounds[1]}
            for label, each in (("r2", straight), ("gain", gain)):
                low, high = jackknife_interval(each[0], each[1:])
                row |= {label: each[0], f"{label}_low": low, f"{label}_high": high}
            rows.append(row)
    return pd.DataFrame(rows)


def curve_table(cells: Mapping[int, Cell]) -> pd.DataFrame:
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


def share_table(cells: Mapping[int, Cell]) -> pd.DataFrame:
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
    """Write the records of every text of which ``folder`` holds all cells below ``target``; their folders.

    Raises ``ValueError`` when no text is complete, or its cells were measured at different commits.
    """
    homes = []
    for text in rules.TEXTS:
        paths = {size: folder / f"{text.name}-{size}.safetensors" for size in sorted(text.vocabularies)}
        if not all(path.exists() for path in paths.values()):
            continue
        cells = {size: Cell.load(path) for size, path in paths.items()}
        commits = {cell.note["commit"] for cell in cells.values()}
        if len(commits) > 1 or next(iter(commits)).endswith("+changes"):
            raise ValueError(
                f"cells of {text.name} were measured at {', '.join(sorted(commits))}: measure them anew at one clean commit"
            )
        made = {name: cells[rules.MAIN.vocabulary].note[name] for name in ("commit", "hardware")}
        run = Recorder(
            _NOTEBOOK, "laptop", NAMES[text.name], rules.SEED, target / f"laptop-{NAMES[text.name]}", made=made
        )
        _publish_text(run, cells)
        homes.append(run.home)
    if not homes:
        raise ValueError(f"{folder} holds no text with all of its vocabularies: measure them first")
    return homes


def _publish_text(run: Recorder, cells: Mapping[int, Cell]) -> None:
    """Tables, and the values that rows of the reproduction ask."""
    main = cells[rules.MAIN.vocabulary]
    choices = run.table("choices", choice_table(cells))
    run.table("profile", weighted(main, rules.MAIN).profile)
    run.table("curves", curve_table(cells))
    shapes = run.table("shapes", shape_table(cells))
    shares = run.table("shares", share_table(cells))
    notes = [{"vocabulary": size, **cell.note} for size, cell in cells.items()]
    run.table("cells", pd.DataFrame(notes).drop(columns=["commit", "hardware"]))

    own, what = choices.iloc[0], f"{main.note['groups']} groups, {main.note['documents']} documents"
    span = f"d = {own['first']} to {own['last']}, vocabulary {own['vocabulary']:,}, {what}"
    alpha, hull = own["alpha"], (choices["low"].min(), choices["high"].max())
    run.value("alpha", alpha, unit="", interval=(own["low"], own["high"]), note=f"main choice, GLS in nats, {span}")
    note = f"main choice; the interval is the hull of those of all {len(choices)} choices"
    run.value("alpha-choices", alpha, unit="", interval=hull, note=note)
    for name, row in (("low", choices["alpha"].idxmin()), ("high", choices["alpha"].idxmax())):
        run.value(
            f"alpha-choices-{name}", choices["alpha"][row], unit="", note=f"exponent of: {choices['choice'][row]}"
        )
    run.value("alpha-law-p", own["p_value"], unit="", note="of χ² of the main choice, Hotelling's F")
    run.value("prefactor", own["prefactor"], unit="nats", note="A of the main choice")
    run.value("plateau", own["constant"], unit="nats", note="C of the main choice, above the null across groups")

    shapes = shapes.set_index(["vocabulary", "plateau"])
    size = rules.MAIN.vocabulary
    shown, plain = shapes.loc[(size, "interior")], shapes.loc[(size, "none")]
    note = f"local exponent at the first distance less that at the last, negated; C at the interior minimum, all distances, vocabulary {size:,}"
    bounds = (shown["curvature_low"], shown["curvature_high"])
    run.value("curvature", shown["curvature"], unit="", interval=bounds, note=note)
    bent = shapes[shapes.index.isin(rules.CONSTANTS, level="plateau")]
    hull = (bent["curvature_low"].min(), bent["curvature_high"].max())
    run.value(
        "curvature-choices", shown["curvature"], unit="", interval=hull, note="hull over vocabularies and constants"
    )
    for name, row, note in (
        ("line-r2-uncorrected", plain, "of the line without any constant"),
        ("line-r2", shown, "of the line, C fitted to make it straight"),
    ):
        run.value(name, row["r2"], unit="", interval=(row["r2_low"], row["r2_high"]), note=note)
    bounds = (shown["gain_low"], shown["gain_high"])
    run.value("line-r2-gain", shown["gain"], unit="", interval=bounds, note="by how much a fitted C raises R²")

    shares = shares.set_index(["vocabulary", "parts"])
    for name, parts, note in (
        ("document-information-upper", 1, "all groups: an upper estimate"),
        ("document-information", 0, "extrapolated in 1/groups"),
    ):
        row = shares.loc[(size, parts)]
        note = f"what two tokens share by being of one document; {note}"
        run.value(name, row["share"], unit="nats", interval=(row["low"], row["high"]), note=note)
