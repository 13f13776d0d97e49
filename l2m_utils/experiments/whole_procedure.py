"""What the whole procedure of the book is worth, choice of law included: simulated corpora whose curve is known, some of them text-shaped.

    l2m evidence procedure            # every source that is not finished; a killed run goes on
    l2m evidence procedure --collect  # what is finished, into the published tables of estimation/how-sure

A corpus has :data:`DOCUMENTS` documents, as the small texts of this book have.  Its two exponents (:data:`l2m_utils.experiments.laptop_rules.ESTIMANDS`),
their intervals, the p-values of the laws and the law of least AIC are what a chapter would print; the source says what they should have been.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pandas as pd
from scipy.stats import chi2
from tqdm import tqdm

from l2m_utils.estimators.bipartite import direct
from l2m_utils.experiments.judging import interval_coverage
from l2m_utils.experiments.laptop_rules import ORDINARY, WEIGHTED
from l2m_utils.experiments.scored_transformers import score_trained
from l2m_utils.records import Recorder, read_table, write_table
from l2m_utils.sources.hidden import HiddenMarkov
from l2m_utils.sources.santa_fe import SantaFe
from l2m_utils.sources.text_like import fitted_to
from l2m_utils.stats import bootstrap
from l2m_utils.stats.fit import fit_law, power_law
from l2m_utils.stats.goodness import chi2_law
from l2m_utils.stats.laws import LAWS
from l2m_utils.stats.nested import Nested, nested
from l2m_utils.stats.verdict import LEAST_P
from l2m_utils.text import corpora, cuts
from l2m_utils.text.tokens import encode_corpus, train_bpe

DOCUMENTS, REPLICATES = 32, 300
PROCEDURE_SPLITS = (2, 4, 8, 16, 32, 64, 128, 256)
PROCEDURE_LENGTHS = 2 * np.array(PROCEDURE_SPLITS)
PROCEDURE_ZIPF = (1.25, 1.4, 1.6, 1.8, 2.0)  # one of them a document: documents of a corpus differ
BEND = 128  # the curve "bend" is flat from here on, as that of a weak ruler is
PROCEDURE_VOCABULARY, TOPICS, CLASSES, SEGMENT = 1024, 32, 16, 64  # of the text-like source: 512 states
CHARACTERS = 20_000  # of each document that it is fitted to
BLOCKS = {"text-like": 4}  # averaged in a document; three elsewhere
TRAINED_SEEDS, TRAINED_STEPS, TRAINED_DOCUMENTS = (0, 1, 2), 300, 200  # small rulers that learn the text-like source

CURVES: dict[str, Callable[[np.ndarray], np.ndarray]] = {
    "power law": lambda lengths: 0.8 * lengths**0.6,
    "logarithm": lambda lengths: 0.5 + 0.5 * np.log(lengths),
    "bend": lambda lengths: 0.8 * np.minimum(lengths, BEND) ** 0.6,
}
SOURCES = {**dict.fromkeys(CURVES, 200), "Santa Fe": 200, "text-like": 60}  # how many corpora of each
PARTS = (*SOURCES, "size", "trained")
SIZE_CORPORA = 1000  # of each kind of errors, for the size of the test alone


def exact_contributions(source, documents: int, rng: np.random.Generator) -> np.ndarray:
    """What the direct estimator with exact probabilities says of one block of each document, nats, (documents, k)."""
    tokens = source.sample(documents, int(PROCEDURE_LENGTHS[-1]), rng)
    marginals = [source.logprobs(tokens[:, split : 2 * split]) for split in PROCEDURE_SPLITS]
    return direct(source.logprobs(tokens), marginals, np.arange(documents), PROCEDURE_SPLITS).values


def santa_fe_documents(documents: int, rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
    """Documents with a Zipf exponent each, three blocks averaged: values (documents, k) and the exact curve (k,) of the mixture."""
    kinds = rng.choice(len(PROCEDURE_ZIPF), size=documents)
    values = np.empty((documents, len(PROCEDURE_SPLITS)))
    for kind, a in enumerate(PROCEDURE_ZIPF):
        own = kinds == kind
        if own.any():
            blocks = exact_contributions(SantaFe(a), 3 * int(own.sum()), rng)
            values[own] = blocks.reshape(-1, 3, len(PROCEDURE_SPLITS)).mean(axis=1)
    exact = np.mean(
        [[SantaFe(a).bipartite_mi(2 * split, split) for split in PROCEDURE_SPLITS] for a in PROCEDURE_ZIPF], axis=0
    )
    return values, exact


def text_like_source(corpus: str = "python-docs", seed: int = 0) -> HiddenMarkov:
    """The hidden Markov source of 512 states that is fitted to a text of the book."""
    text = cuts.shortened(corpora.load(corpus), CHARACTERS)
    tokenizer = train_bpe([document.text for document in text], PROCEDURE_VOCABULARY)
    tokens = encode_corpus(tokenizer, text).documents
    rng = np.random.default_rng(seed)
    return fitted_to(tokens, tokenizer.get_vocab_size(), topics=TOPICS, classes=CLASSES, segment=SEGMENT, rng=rng)


def simulated(name: str, count: int, seed: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """``count`` corpora of a source: documents (count, n, k), the curve (k,) that they sample, and its Monte Carlo standard error (k,).

    The curves of :data:`CURVES` are sampled with the relative errors of Santa Fe documents.  The curve of the text-like source is the mean of all
    documents, whose probabilities are exact.
    """
    rng = np.random.default_rng(seed)
    number = count * DOCUMENTS
    if name == "text-like":
        source, each = text_like_source(), 100
        parts = []
        for _ in tqdm(range(-(-number // each)), desc=name):
            blocks = exact_contributions(source, each * BLOCKS[name], rng)
            parts.append(blocks.reshape(each, -1, len(PROCEDURE_SPLITS)).mean(axis=1))
        values = np.concatenate(parts)[:number]
        truth, error = values.mean(axis=0), values.std(axis=0, ddof=1) / np.sqrt(number)
    else:
        values, truth = santa_fe_documents(number, rng)
        if name in CURVES:
            wanted = CURVES[name](PROCEDURE_LENGTHS.astype(float))
            values, truth = values / truth * wanted, wanted
        error = np.zeros(len(PROCEDURE_SPLITS))
    return values.reshape(count, DOCUMENTS, len(PROCEDURE_SPLITS)), truth, error


def judge_corpus(documents: np.ndarray, rng: np.random.Generator) -> dict[str, float | str]:
    """Everything that a chapter would print of ``documents`` (n, k): both exponents with intervals, p-values of the power law, and the law of least AIC.

    ``p_known`` is the p-value as if the covariance were known.  A corpus with an estimate or replicate that is not positive is fitted on the linear scale.
    """
    n, estimates = len(documents), documents.mean(axis=0)
    drawn = bootstrap.replicates(documents, np.ones(n), REPLICATES, rng)
    scale = "log" if (drawn > 0).all() and (estimates > 0).all() else "linear"
    row: dict[str, float | str] = {"scale": scale}
    for label, window in (("gls", WEIGHTED), ("ols", ORDINARY)):
        kept = (window.first <= PROCEDURE_LENGTHS) & (window.last >= PROCEDURE_LENGTHS)
        fit = power_law(
            PROCEDURE_LENGTHS[kept],
            estimates[kept],
            drawn[:, kept],
            scale=scale,
            weighting=window.weighting,
            n_documents=n,
        )
        row |= {label: fit.parameters["exponent"]}
        row |= dict(zip((f"{label}_low", f"{label}_high"), fit.intervals["exponent"], strict=True))
    kept = WEIGHTED.first <= PROCEDURE_LENGTHS
    aic = {}
    for law in LAWS:
        fit = power_law(PROCEDURE_LENGTHS[kept], estimates[kept], drawn[:, kept], law=law, scale=scale, n_documents=n)
        judged = fit_law(fit, drawn[:, kept], n)
        aic[law] = fit.chi2 / judged.inflation + 2 * len(fit.parameters)
        if law == "power":
            freedom = len(fit.lengths) - len(fit.parameters)
            row |= {"p": judged.p_value(fit.chi2), "p_known": float(chi2.sf(fit.chi2, freedom))}
    best = min(aic, key=lambda law: aic[law])
    return row | {"best": best, "delta_aic": aic["power"] - aic[best]}


def targets(documents: np.ndarray, truth: np.ndarray) -> dict[str, float]:
    """The exponents of the exact curve with each window and its weights: what the fits would give with endless text."""
    pool = documents.reshape(-1, len(PROCEDURE_SPLITS))[: 40 * DOCUMENTS]
    drawn = bootstrap.replicates(pool, np.ones(len(pool)), REPLICATES, np.random.default_rng(0))
    found = {}
    for label, window in (("gls", WEIGHTED), ("ols", ORDINARY)):
        kept = (window.first <= PROCEDURE_LENGTHS) & (window.last >= PROCEDURE_LENGTHS)
        around = drawn[:, kept] / pool.mean(axis=0)[kept] * truth[kept]
        fit = power_law(PROCEDURE_LENGTHS[kept], truth[kept], around, weighting=window.weighting, n_documents=DOCUMENTS)
        found[f"{label}_target"] = fit.parameters["exponent"]
    return found


def run_source(name: str, folder: Path, count: int, seed: int = 0) -> pd.DataFrame:
    """The table of one source, a row a corpus, from ``folder`` if it was finished there; the documents are kept between runs."""
    path = _path(folder, name, count, seed)
    if path.exists():
        return read_table(path)[0]
    documents, truth, error = simulated(name, count, seed)
    known = targets(documents, truth)
    rng = np.random.default_rng([seed, 1])
    rows = [judge_corpus(corpus, rng) for corpus in tqdm(documents, desc=name)]
    table = pd.DataFrame(rows).assign(source=name, **known)
    curve = pd.DataFrame({"source": name, "length": PROCEDURE_LENGTHS, "exact": truth, "error": error})
    write_table(path.with_suffix(".curve.parquet"), curve)
    write_table(path, table)
    return table


def size_documents(kind: str, number: int, rng: np.random.Generator) -> np.ndarray:
    """Documents (number, k) about a constant at the weighted lengths: the errors of nested sums, of Santa Fe documents, or these with a log-normal factor each."""
    kept = WEIGHTED.first <= PROCEDURE_LENGTHS
    if kind == "nested sums":
        return 1 + 0.3 * rng.normal(size=(number, kept.sum())).cumsum(axis=1) / np.sqrt(kept.sum())
    values, truth = santa_fe_documents(number, rng)
    values = (values / truth)[:, kept]
    return values * np.exp(rng.normal(0, 1, (number, 1)) - 0.5) if kind == "unequal documents" else values


def run_size(folder: Path, count: int = SIZE_CORPORA, seed: int = 0) -> pd.DataFrame:
    """p-values of a right power law, a row a corpus: columns ``errors``, ``p`` and ``p_known``; from ``folder`` if finished."""
    path = _path(folder, "size", count, seed)
    if path.exists():
        return read_table(path)[0]
    rng, rows = np.random.default_rng(seed), []
    lengths = PROCEDURE_LENGTHS[WEIGHTED.first <= PROCEDURE_LENGTHS].astype(float)
    slope = np.column_stack([np.ones(len(lengths)), np.log(lengths)])
    for kind in ("nested sums", "Santa Fe", "unequal documents"):
        documents = size_documents(kind, count * DOCUMENTS, rng).reshape(count, DOCUMENTS, -1)
        for corpus in tqdm(documents, desc=kind):
            drawn = np.log(bootstrap.replicates(corpus, np.ones(DOCUMENTS), REPLICATES, rng))
            root = np.linalg.cholesky(bootstrap.covariance(drawn, DOCUMENTS))
            white = np.linalg.solve(root, np.column_stack([np.log(corpus.mean(axis=0)), slope]))
            found = float(np.linalg.lstsq(white[:, 1:], white[:, 0])[1][0])
            p = chi2_law(drawn, slope, DOCUMENTS, rng, draws=499).p_value(found)
            rows.append((kind, p, float(chi2.sf(found, len(lengths) - 2))))
    table = pd.DataFrame(rows, columns=["errors", "p", "p_known"])
    write_table(path, table)
    return table


def run_trained(folder: Path) -> pd.DataFrame:
    """What three small transformers, trained on fresh samples of the text-like source, say of the same held-out samples: nats, from ``folder`` if finished.

    Columns ``seed``, ``document``, ``length``, ``direct`` (the model's estimate) and ``exact`` (that of the source on the same tokens).
    """
    parts = []
    for seed in TRAINED_SEEDS:
        path = folder / f"trained-{seed}.parquet"
        if not path.exists():
            scores = score_trained(
                text_like_source(), TRAINED_STEPS, PROCEDURE_SPLITS, documents=TRAINED_DOCUMENTS, seed=seed, held_seed=0
            )
            direct_of = {
                name: scores[f"{head}conditional"] - scores[f"{head}marginal"]
                for name, head in (("direct", ""), ("exact", "exact_"))
            }
            write_table(path, scores[["document", "length"]].assign(seed=seed, **direct_of))
        parts.append(read_table(path)[0])
    return pd.concat(parts, ignore_index=True)


def trained_exponents(table: pd.DataFrame, n_boot: int = 1000, seed: int = 0) -> tuple[pd.DataFrame, Nested, list[int]]:
    """The paper's exponent of each ruler of :func:`run_trained` and of the exact scores, the one over rulers and documents, and the lengths that are fitted.

    Columns ``ruler`` (a seed or ``exact``), ``exponent``, ``low``, ``high``.  The documents are drawn alike for all.  A length at which some ruler's
    replicate is not positive is left out for all of them, the exact scores included: exponents over different lengths are not compared.
    """
    curves = {str(name): own.pivot(index="document", columns="length") for name, own in table.groupby("seed")}
    means = {name: own["direct"] for name, own in curves.items()} | {"exact": next(iter(curves.values()))["exact"]}
    drawn = {
        name: bootstrap.replicates(own, np.ones(len(own)), n_boot, np.random.default_rng(seed))
        for name, own in means.items()
    }
    kept = np.all([(own > 0).all(axis=0) for own in drawn.values()], axis=0)
    rows, samples = [], []
    for name, own in means.items():
        fit = power_law(
            own.columns[kept],
            own.mean()[kept],
            drawn[name][:, kept],
            weighting=ORDINARY.weighting,
            n_documents=len(own),
        )
        rows.append((name, fit.parameters["exponent"], *fit.intervals["exponent"]))
        samples.append(fit.samples[:, 1])
    found = pd.DataFrame(rows, columns=["ruler", "exponent", "low", "high"])
    lengths = means["exact"].columns[kept].tolist()
    return found, nested(found["exponent"][:-1], np.array(samples[:-1]), len(means["exact"])), lengths


def procedure_summary(corpora_table: pd.DataFrame) -> pd.DataFrame:
    """One row a source: what of the procedure holds, shares of the corpora.

    ``gls``, ``ols``: the interval of each exponent holds its own target; ``gls_holds_ols``: that of GLS holds the target of the paper's; ``rejected`` and
    ``rejected_known``: the power law is rejected at 5 %, by the drawn law of χ² and by that of a known covariance; ``chosen``: it has the least AIC;
    ``stands``: chosen and not rejected; ``gls_if_stands``, ``ols_if_stands``: the coverage of the exponents that a chapter would call the text's (NaN if none).
    """
    rows = []
    for source, own in corpora_table.groupby("source", sort=False):
        row: dict[str, float | str] = {"source": str(source), "corpora": len(own)}
        stands = (own["best"] == "power") & (own["p"] >= LEAST_P)
        for suffix, part in (("", own), ("_if_stands", own[stands])):
            for label in ("gls", "ols"):
                low, high, truth = (part[f"{label}_{word}"] for word in ("low", "high", "target"))
                row[label + suffix] = interval_coverage(low, high, truth) if len(part) else np.nan
        row["gls_holds_ols"] = interval_coverage(own["gls_low"], own["gls_high"], own["ols_target"])
        row |= {f"{label}_target": float(own[f"{label}_target"].iloc[0]) for label in ("gls", "ols")}
        row |= {"rejected": (own["p"] < LEAST_P).mean(), "rejected_known": (own["p_known"] < LEAST_P).mean()}
        rows.append(row | {"chosen": (own["best"] == "power").mean(), "stands": stands.mean()})
    return pd.DataFrame(rows)


def run_part(name: str, folder: Path) -> pd.DataFrame:
    """:func:`run_source` for one of :data:`SOURCES`, :func:`run_size` or :func:`run_trained` for the other two of :data:`PARTS`."""
    others = {"size": run_size, "trained": run_trained}
    return others[name](folder) if name in others else run_source(name, folder, SOURCES[name])


def collect_procedure(folder: Path, results: Path) -> int:
    """Save what is finished in a folder as the tables ``procedure`` and ``procedure-…`` (curves, size, rulers) of the notebook; returns how many parts.

    A table is saved when all of its parts are there, so that none replaces a larger one.  Raises ``ValueError`` when nothing is finished.
    """
    paths = [_path(folder, name, count) for name, count in SOURCES.items()]
    done = [path for path in paths if path.exists()]
    size = _path(folder, "size", SIZE_CORPORA).exists()
    trained = all((folder / f"trained-{seed}.parquet").exists() for seed in TRAINED_SEEDS)
    if not (done or size or trained):
        raise ValueError(f"nothing is finished in {folder}: run without --collect first")
    run = Recorder("estimation/how-sure", "laptop", folder=results)
    if len(done) == len(SOURCES):
        run.table("procedure", pd.concat([read_table(path)[0] for path in done], ignore_index=True))
        curves = [read_table(path.with_suffix(".curve.parquet"))[0] for path in done]
        run.table("procedure-curves", pd.concat(curves, ignore_index=True))
    if size:
        run.table("procedure-size", run_size(folder, SIZE_CORPORA))
    if trained:
        run.table("procedure-rulers", run_trained(folder))
    return len(done) * (len(done) == len(SOURCES)) + size + trained


def _path(folder: Path, name: str, count: int, seed: int = 0) -> Path:
    return folder / f"{name.replace(' ', '-')}-{count}-{seed}.parquet"
