"""Two rows of the reproduction that compare readings of the same scores, with all choices: exponents of unequal parts, and the share of the correction.

A row of each table is one choice.  ``differs`` says in what it differs from the main one, which is ``nothing`` and comes first; the interval of the record is
the hull over the rows in which ``counts`` is true.  Repairs that :mod:`l2m_utils.experiments.ruler_rules` leaves out stand beside them and do not count.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np
import pandas as pd

from l2m_utils.estimators.contributions import Contributions
from l2m_utils.experiments import ruler_rules as rules
from l2m_utils.experiments.ruler_results import fit_in, seeded_replicates
from l2m_utils.experiments.ruler_scores import RulerCurve
from l2m_utils.records import Recorder
from l2m_utils.stats.bootstrap import interval
from l2m_utils.stats.fit import Fit

_MAIN_REPAIRS = {"direct": "2-gram", "vCLUB": "none"}
_LAST_CUT = rules.RATIO_SPLITS[1]
# Of cuts ℓ: the main one, and those of the exponents at L/ℓ = 2 up to the last cut that all ratios have.
CUT_WINDOWS = (
    rules.Window("cuts", *rules.RATIO_SPLITS, "none"),
    *(replace(each, first=each.first // 2, last=min(each.last // 2, _LAST_CUT)) for each in rules.WINDOWS),
)


def _fits(one: RulerCurve, two: RulerCurve, window: rules.Window, n_boot: int) -> tuple[Fit, Fit] | None:
    """Both power laws over the cuts of ``window`` that can be used in both curves; ``None`` if too few can."""
    pair = [(curve.values, curve.ratio) for curve in (one, two)]
    while True:
        made = [
            fit_in(values, replace(window, first=ratio * window.first, last=ratio * window.last), n_boot)
            for values, ratio in pair
        ]
        fits = [fit for fit in made if fit is not None]
        if len(fits) < 2:
            return None
        cuts = [set((fit.lengths // ratio).tolist()) for fit, (_, ratio) in zip(fits, pair, strict=True)]
        if cuts[0] == cuts[1]:
            return fits[0], fits[1]
        pair = [(_cut(values, ratio, cuts[0] & cuts[1]), ratio) for values, ratio in pair]


def _cut(values: Contributions, ratio: int, cuts: set[int]) -> Contributions:
    kept = np.isin(values.lengths // ratio, sorted(cuts))
    return replace(values, lengths=values.lengths[kept], values=values.values[:, kept])


def ratio_differences(curves: Sequence[RulerCurve], n_boot: int = rules.N_BOOT) -> pd.DataFrame:
    """β at L/ℓ = 3 and 4 less β at 2 over the same cuts, paired by document, main choice first and then all that differ in one thing.

    Columns ``estimator``, ``ratio``, ``differs``, ``counts``, ``repair``, ``window``, ``weights``, ``first`` and ``last`` cut, ``exponent``, ``exponent_2``,
    ``difference``, ``low``, ``high``, ``documents``.
    """
    known = {curve.name: curve for curve in curves}
    rows = []
    for estimator, main in _MAIN_REPAIRS.items():
        wanted = [("near", main, window, "window" if index else "nothing") for index, window in enumerate(CUT_WINDOWS)]
        if estimator == "direct":
            wanted += [("repair", repair, CUT_WINDOWS[0], "repair") for repair in rules.VARIED_REPAIRS]
            wanted += [("near", repair, CUT_WINDOWS[0], "repair") for repair in ("1-gram", "uncorrected")]
        for ratio in rules.RATIOS:
            for name, repair, window, differs in wanted if ratio != 2 else ():
                pair = [known[key] for each in (ratio, 2) if (key := (name, estimator, repair, each)) in known]
                fits = _fits(pair[0], pair[1], window, n_boot) if len(pair) == 2 else None
                if fits is None:
                    continue
                documents = len(pair[1].values.counts)
                low, high = interval(fits[0].samples[:, 1] - fits[1].samples[:, 1], n_documents=documents)
                three, two = (fit.parameters["exponent"] for fit in fits)
                counts = differs != "repair" or repair in rules.VARIED_REPAIRS
                ends = int(fits[1].lengths[0]) // 2, int(fits[1].lengths[-1]) // 2
                about = (estimator, ratio, differs, counts, repair, window.name, window.weighting, *ends)
                rows.append((*about, three, two, three - two, low, high, documents))
    columns = ["estimator", "ratio", "differs", "counts", "repair", "window", "weights", "first", "last"]
    columns += ["exponent", "exponent_2", "difference", "low", "high", "documents"]
    return pd.DataFrame(rows, columns=columns)


def gap_choices(curves: Sequence[RulerCurve], n_boot: int = rules.N_BOOT) -> pd.DataFrame:
    """The uncorrected direct estimate over the repaired one, less 1, at the greatest length up to ``rules.GAP_LENGTH`` of each choice, main choice first.

    Columns ``differs``, ``counts``, ``set``, ``repair``, ``ratio``, ``length``, ``share``, ``low``, ``high``, ``documents``; no rows when the main choice
    was not scored to ``rules.GAP_LENGTH``.
    """
    known = {curve.name[:1] + curve.name[2:]: curve.values for curve in curves if curve.estimator == "direct"}
    wanted = [("whole", "2-gram", 2, "nothing"), ("whole", "1-gram", 2, "repair")]
    wanted += [("near", "2-gram", ratio, "ratio") for ratio in rules.RATIOS if ratio != 2]
    wanted += [("repair", repair, 2, "repair") for repair in rules.VARIED_REPAIRS]
    rows = []
    for name, repair, ratio, differs in wanted:
        if (name, repair, ratio) not in known:  # the uncorrected one is there wherever a repaired one is
            continue
        base, plain = known[name, repair, ratio], known[name, "uncorrected", ratio]
        usable = np.flatnonzero(base.lengths <= rules.GAP_LENGTH)
        if len(usable):
            at, documents = usable[-1], len(base.counts)
            drawn = [seeded_replicates(each, n_boot)[:, at] for each in (plain, base)]
            low, high = interval(drawn[0] / drawn[1] - 1, n_documents=documents)
            share, counts = plain.estimates[at] / base.estimates[at] - 1, differs != "repair" or repair != "1-gram"
            rows.append((differs, counts, name, repair, ratio, int(base.lengths[at]), share, low, high, documents))
    columns = ["differs", "counts", "set", "repair", "ratio", "length", "share", "low", "high", "documents"]
    made = pd.DataFrame(rows, columns=columns)
    reached = len(made) and made.loc[0, "differs"] == "nothing" and made.loc[0, "length"] == rules.GAP_LENGTH
    return made if reached else made.iloc[:0]


def _hull(rows: pd.DataFrame) -> tuple[float, float]:
    """The interval that holds those of all choices that count."""
    counted = rows["counts"].to_numpy()
    return float(rows["low"].to_numpy()[counted].min()), float(rows["high"].to_numpy()[counted].max())


def record_ratios(run: Recorder, found: Sequence[RulerCurve], model: str, n_boot: int) -> None:
    """Differences of exponents of unequal parts, with all choices and with documents alone, and the table of them."""
    table = run.table("ratios", ratio_differences(found, n_boot))
    for _, rows in table.groupby(["estimator", "ratio"]):
        main = rows.iloc[0]
        estimator, ratio = main["estimator"], main["ratio"]
        if main["differs"] != "nothing":
            continue
        name, own = f"beta-{estimator.lower()}-ratio-{ratio}-less-2", (main["low"], main["high"])
        span = f"OLS, same cuts ℓ = {main['first']} to {main['last']}, paired, {main['documents']} documents"
        varied = "documents, repairs and windows" if estimator == "direct" else "documents and windows"
        for each, bounds, over in ((name, _hull(rows), varied), (f"{name}-documents", own, "documents alone")):
            note = f"{span}; interval over {over}"
            run.value(each, main["difference"], unit="", interval=bounds, model=model, note=note)


def record_gap(run: Recorder, found: Sequence[RulerCurve], model: str, n_boot: int) -> None:
    """The share of the correction, with all choices and with documents alone, and the table of them; nothing where its length was not reached."""
    gaps = gap_choices(found, n_boot)
    if len(gaps):
        main = run.table("gaps", gaps).iloc[0]
        span = f"uncorrected over 2-gram direct estimate at L = {main['length']}, less 1; {main['documents']} documents"
        own = (main["low"], main["high"])
        stand = "; interval over documents, repairs and ratios, each at its greatest length up to this"
        for name, bounds, over in (("", _hull(gaps), stand), ("-documents", own, "; interval over documents alone")):
            run.value(f"correction-gap{name}", main["share"], unit="", interval=bounds, model=model, note=span + over)
