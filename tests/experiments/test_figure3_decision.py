"""Answers to the rows of figure 3 on curves whose answer is known: each can hold, fail and stay open."""

import numpy as np
import pandas as pd
import pytest
import yaml

from l2m_utils.experiments import figure3_decision as decision
from l2m_utils.experiments import figure3_rules as rules
from l2m_utils.experiments.figure3_runs import stage_table
from l2m_utils.experiments.gaussian_growth import mean_interval
from l2m_utils.experiments.gaussian_runs import thinned
from l2m_utils.experiments.gpu import figure3_results
from l2m_utils.project import PROJECT

STEPS = [n for n in rules.MEASURED if n <= 6000]
SMALL = {64: 0.116, 256: 0.155, 1024: 0.185}


def made(kind, state, losses, falling=0.0, seeds=rules.SEEDS, role="first"):
    """Runs of every length and seed; seeds differ by a thousandth; a falling run loses half of ``falling`` in its last third."""
    rows = []
    for length, loss in losses.items():
        for seed in range(seeds):
            about = {
                "role": role,
                "kind": kind,
                "state": state,
                "copies": 4,
                "length": length,
                "seed": seed,
                "learning_rate": 0.01,
            }
            end = loss * (1 + 0.001 * (seed - 2))
            rows += [
                about | {"steps": n, "kl": end + falling * (STEPS[-1] / n - 1), "seconds": n / 50, "flops": 1.0 * n}
                for n in STEPS
            ]
    return pd.DataFrame(rows)


def measured(*parts):
    return figure3_results.runs(pd.concat(parts, ignore_index=True))


def small(falling=0.0, seeds=rules.SEEDS):
    return made("mamba2", 4, SMALL, falling, seeds)


def transformer(losses, falling=0.0):
    return made("transformer", 0, dict(zip(rules.FIGURE3_LENGTHS, losses, strict=True)), falling)


LOW, STEEP = (1e-4, 1e-3, 4e-3), (1e-4, 0.08, 0.18)


def test_the_margins_are_those_of_the_rows():
    rows = {row["id"]: row for row in yaml.safe_load((PROJECT / "book" / "reproduction.yml").read_text())}
    assert rows["3a"]["margin"] == rules.SLOPE_MARGIN and rows["3c"]["target"] == rules.COLLAPSE_SHARE
    assert rows["G.7"]["margin"] == rules.RISE_MARGIN and rows["G.8"]["margin"] == rules.NLL_MARGIN
    assert {rows[name]["least_seeds"] for name in ("3a", "3b", "3c", "G.7", "G.8")} == {rules.SEEDS}


def test_3b_needs_the_small_state_flat_and_the_transformer_only_low():
    found = decision.slope_excess_of_small(measured(small(), transformer(LOW, falling=0.01)))
    assert found.word == "holds" and found.settled
    slope = (SMALL[1024] - SMALL[64]) / 4
    assert found.value == pytest.approx(slope - (LOW[2] - LOW[0]) / 4, rel=1e-3)
    # The hull reaches down to a transformer that loses nothing at 64 tokens and all it has reached beyond.
    assert found.interval[0] < slope - LOW[2] / 4 + 1e-9 and found.interval[1] > (SMALL[256] - SMALL[64]) / 2
    assert decision.slope_excess_of_small(measured(small(falling=0.05), transformer(LOW))).word == "undetermined"
    # A transformer that has learnt nothing long: the bracket holds both orders.
    waits = decision.slope_excess_of_small(measured(small(), transformer((1e-4, 0.22, 0.25), falling=0.1)))
    assert waits.settled and waits.word == "undetermined" and waits.interval[0] < 0 < waits.interval[1]


def test_3a_holds_by_its_bracket_or_by_flat_runs_and_fails_by_flat_runs_alone():
    assert decision.transformer_slope(measured(small(), transformer(LOW, falling=0.01))).word == "holds"
    steep = decision.transformer_slope(measured(transformer(STEEP)))
    assert steep.settled and steep.word == "does not hold" and steep.interval[0] > rules.SLOPE_MARGIN
    # Not flat: what it is as it ended counts beside the bracket, seeds that scatter widely in it.
    wide = transformer(LOW, falling=0.01)
    wide.loc[wide.length == 64, "kl"] *= wide.seed[wide.length == 64].map({0: 0.1, 1: 0.1, 2: 0.1, 3: 0.1, 4: 30.0})
    apart = decision.transformer_slope(measured(wide))
    ends = [mean_interval(decision.slopes_to(measured(wide), "transformer", most).slope) for most in rules.RANGES]
    assert apart.interval[0] <= min(low for low, _ in ends) and apart.interval[1] >= max(high for _, high in ends)
    cut = decision.transformer_slope(measured(transformer(STEEP, falling=0.05)))
    assert not cut.settled and cut.word == "undetermined" and cut.interval[0] < 0 < cut.interval[1]


def test_a_lacking_seed_or_length_leaves_a_row_open():
    four = small(seeds=4)
    assert decision.slope_excess_of_small(measured(four, transformer(LOW))).value is None
    short = measured(small(), transformer(LOW).query("length < 1024"))
    found = decision.answers(short, placed({("mamba2", 4): 0.03}))
    assert [each.row for each in found] == ["3b", "3a", "3c", "G.7", "G.8"]
    assert all(each.value is None and each.word == "undetermined" for each in found[:4])


def test_3c_asks_for_every_state():
    parts = [small()] + [
        made("mamba2", s, {n: kl / (1 + s / 16) for n, kl in SMALL.items()}, role="others") for s in rules.OTHERS[:-1]
    ]
    assert decision.collapse_share(measured(*parts)).value is None
    parts.append(made("mamba2", rules.OTHERS[-1], {n: kl / 5 for n, kl in SMALL.items()}, role="others"))
    found = decision.collapse_share(measured(*parts))
    assert found.value is not None and found.settled
    parts[-1] = made("mamba2", rules.OTHERS[-1], {n: kl / 5 for n, kl in SMALL.items()}, falling=0.05, role="others")
    assert decision.collapse_share(measured(*parts)).word == "undetermined"


def test_flat_runs_on_the_level_of_the_state_below_are_marked_and_3c_is_read_without_them():
    curve = lambda state: {n: kl / (1 + state / 16) for n, kl in SMALL.items()}
    parts = [small()] + [made("mamba2", s, curve(s), role="others") for s in rules.OTHERS]
    parts[1].loc[(parts[1].seed == 0) & (parts[1].length == 64), "kl"] = SMALL[64]  # two numbers that are used as one
    runs = decision.with_level_below(decision.flat_runs(measured(*parts, transformer(LOW))))
    marked = runs.loc[runs["level below"], ["series", "length", "seed"]]
    assert marked.to_numpy().tolist() == [["mamba2, 2 a copy", 64, 0]]
    table = decision.decided_lengths(measured(*parts)).set_index(["series", "length"])
    assert table["level below"].sum() == table.loc[("mamba2, 2 a copy", 64), "level below"] == 1
    above = decision.collapse_above_levels(measured(*parts))
    parts[1] = parts[1].loc[~((parts[1].seed == 0) & (parts[1].length == 64))]
    kept = measured(*parts)
    assert above == decision._collapse(kept, 0) and above[0] > 0
    assert np.isnan(decision.collapse_above_levels(kept)[0])  # row 3c wants all seeds before it has a number
    # The transformer has no state, and a larger state whose run still falls is on no level.
    falls = [small(), made("mamba2", 8, SMALL, falling=0.05, role="others"), transformer(LOW)]
    assert not decision.with_level_below(decision.flat_runs(measured(*falls)))["level below"].any()


def test_3c_is_read_over_both_ranges():
    parts = [small()] + [made("mamba2", s, {n: kl / (1 + s / 16) for n, kl in SMALL.items()}) for s in rules.OTHERS]
    whole = measured(*parts)
    each = [figure3_results.collapsed(whole[whole.length <= most]).loc["I/d"] for most in rules.RANGES]
    found = decision.collapse_share(whole)
    assert found.interval == (min(one.low for one in each), max(one.high for one in each))
    assert found.value == each[-1]["left out"]


def placed(series_rise):
    """Losses by position: nothing at first, then ``rise`` per doubling from position 4 on."""
    parts = []
    for (kind, state), rise in series_rise.items():
        for length in rules.FIGURE3_LENGTHS:
            place = thinned(np.zeros(length))[0]
            kl = 1e-3 + rise * np.maximum(0, np.floor(np.log2(place + 1)) - 2)
            for seed in range(rules.SEEDS):
                about = {
                    "role": "first",
                    "kind": kind,
                    "state": state,
                    "copies": 4,
                    "length": length,
                    "seed": seed,
                    "steps": 6000,
                }
                parts.append(pd.DataFrame(about | {"position": place, "kl": kl * (1 + 0.01 * seed)}))
    return figure3_results.runs(pd.concat(parts, ignore_index=True))


def test_rises_with_position_hold_and_fail():
    runs = measured(small(), transformer(LOW))
    flat = decision.position_rise_ratio(runs, placed({("mamba2", 4): 0.03, ("transformer", 0): 0.0003}))
    assert flat.word == "holds" and flat.value == pytest.approx(0.01)
    steep = placed({("mamba2", 4): 0.03, ("transformer", 0): 0.01})
    assert decision.position_rise_ratio(runs, steep).word == "does not hold"
    cut = measured(small(), transformer(LOW, falling=0.01))
    assert decision.position_rise_ratio(cut, steep).word == "undetermined"
    bracket = decision.position_rise_ratio(cut, placed({("mamba2", 4): 0.03, ("transformer", 0): 0.0003}))
    assert bracket.word == "holds" and bracket.interval[0] < 0


def test_the_nll_falls_while_the_kl_rises_or_does_not():
    runs = measured(small(), transformer(LOW))
    for rise, word in ((5e-3, "holds"), (0.0, "does not hold"), (0.2, "does not hold")):
        answer, rising = decision.nll_change(runs, placed({("mamba2", 4): rise}))
        assert answer.settled and answer.word == word and (rising[1][0] > 0) == (rise > 0)
    assert decision.nll_change(measured(small(falling=0.05)), placed({("mamba2", 4): 1e-3}))[0].word == "undetermined"


def test_a_table_has_the_rule_and_the_hours():
    table = decision.decided_lengths(measured(small(), transformer(LOW, falling=0.01))).set_index(["series", "length"])
    assert table.loc[("mamba2, 1 a copy", 64), "flat"] == 5 and table.loc[("transformer", 64), "flat"] == 0
    assert table.loc[("transformer", 64), "seconds"] == 5 * 120
    uneven = measured(small(), transformer(LOW).query("seed > 0 or steps <= 3000"))
    assert decision.decided_lengths(uneven).set_index(["series", "length"]).loc[
        ("transformer", 64), ["fewest", "steps"]
    ].tolist() == [3000, 6000]
    wanted = decision.wanted_steps(uneven, "transformer").iloc[0]
    assert (wanted["fewest steps"], wanted["most steps"]) == (3000, 6000)


def test_the_cost_of_flat_continues_a_power_of_the_steps():
    power = [60.0 / n for n in STEPS]
    assert decision.steps_until_flat(64, STEPS, power) == pytest.approx(60 / (2 * rules.FLAT_NATS))
    assert decision.steps_until_flat(64, STEPS, [0.1] * len(STEPS)) == 6000
    wait = rules.first_plateau(64)
    assert np.isnan(decision.steps_until_flat(64, STEPS, [wait + 1 / n for n in STEPS]))
    table = decision.wanted_steps(measured(transformer((0.01, 0.01, 0.01), falling=0.01)), "transformer")
    row = table.iloc[0]
    assert row.low <= row["steps until flat"] <= row.high and row.seconds == pytest.approx(
        row["steps until flat"] * 5 / 50
    )


def test_equal_compute_is_read_at_either_end():
    # The transformer costs three times as much a step and falls as 60 / N: at the compute of 6,000 steps of the other it has made 2,000.
    losses = dict.fromkeys(rules.FIGURE3_LENGTHS, 0.0)
    dear = made("transformer", 0, losses, falling=0.01).assign(flops=lambda f: 3.0 * f.steps)
    table = decision.weights_and_compute(measured(small(), dear)).set_index(["length", "reading"])
    assert table.loc[(64, "equal steps"), "difference"] == pytest.approx(-0.116)
    assert table.loc[(64, "compute of the small state's end"), "difference"] == pytest.approx(0.02 - 0.116)
    assert table.loc[(64, "compute of the transformer's end"), "difference"] == pytest.approx(-0.116)
    assert (table.below == 5).all() and (table.low <= table.difference).all() and (table.difference <= table.high).all()
    assert decision.weights_and_compute(measured(small())).empty


def test_the_plan_is_counted_by_what_it_is_for():
    table = decision.plan_table(stage_table(pd.DataFrame()))
    assert table.phase.tolist() == list(rules.PHASES) and table.runs.tolist() == [12 + 20, 6 + 10, 30, 90, 15, 60, 75]
    assert (table.done == 0).all()
