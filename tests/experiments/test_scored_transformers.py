"""Sums of log-probabilities of trained transformers: what the columns mean, and the mixture of models made from them."""

import numpy as np
import pandas as pd
import pytest

from l2m_utils.estimators.several_models import mix_logprobs
from l2m_utils.experiments.scored_transformers import SUM_COLUMNS, direct_of_mixture, score_trained, sums_by
from l2m_utils.sources.santa_fe import SantaFe

SPLITS = [2, 4]


@pytest.fixture(scope="module")
def table():
    return pd.concat(
        [score_trained(SantaFe(1.5, facts=3), steps, SPLITS, documents=5, shares=(0.0, 0.5)) for steps in (1, 2)],
        ignore_index=True,
    )


def test_columns_and_exact_sums(table):
    source = SantaFe(1.5, facts=3)
    assert (
        len(table) == 2 * 2 * 2 * 5 and set(SUM_COLUMNS) < set(table) and (table[list(SUM_COLUMNS)] <= 0).all(axis=None)
    )
    held = source.sample(5, 8, np.random.default_rng([0, 0]))
    part = sums_by(table[table.share == 0], "steps")
    for index, split in enumerate(SPLITS):
        y = held[:, split : 2 * split]
        assert np.allclose(part["exact_marginal"][:, :, index], source.logprobs(y).sum(axis=1), atol=1e-5)
        whole = source.logprobs(held)[:, split : 2 * split].sum(axis=1)
        assert np.allclose(part["exact_conditional"][:, :, index], whole, atol=1e-5)


def test_held_out_texts_are_the_same_for_every_budget_and_the_models_differ(table):
    exact = [table[table.steps == steps][["exact_conditional", "exact_marginal"]].to_numpy() for steps in (1, 2)]
    model = [table[table.steps == steps].conditional.to_numpy() for steps in (1, 2)]
    assert np.array_equal(*exact) and not np.allclose(*model, atol=1e-3)


def test_context_and_conditional_are_parts_of_one_pass(table):
    """log q(w₁…w₄) is the context at ℓ = 4, and context + conditional at ℓ = 2."""
    part = sums_by(table[table.share == 0], "steps")
    whole = part["context"] + part["conditional"]
    assert np.allclose(whole[:, :, 0], part["context"][:, :, 1], atol=1e-4)


def test_a_cache_counts_the_text_itself(table):
    part = sums_by(table[table.steps == 2], "share")
    assert not np.allclose(part["conditional"][0], part["conditional"][1], atol=1e-3)
    assert np.array_equal(part["exact_marginal"][0], part["exact_marginal"][1])


def test_a_lost_row_is_told(table):
    with pytest.raises(ValueError, match="one row for each"):
        sums_by(table[table.share == 0].iloc[1:], "steps")


def test_the_mixture_is_that_of_the_token_by_token_form():
    rng = np.random.default_rng(0)
    blocks, halves = np.log(rng.uniform(0.1, 0.9, (2, 3, 7, 8))), np.log(rng.uniform(0.1, 0.9, (3, 7, 4)))
    conditional = mix_logprobs(blocks[0])[:, 4:].sum(axis=1)
    marginal = mix_logprobs(halves).sum(axis=1)
    sums = {
        "context": blocks[0][:, :, :4].sum(axis=2)[..., None],
        "conditional": blocks[0][:, :, 4:].sum(axis=2)[..., None],
        "marginal": halves.sum(axis=2)[..., None],
    }
    assert np.allclose(direct_of_mixture(sums)[:, 0], conditional - marginal)
