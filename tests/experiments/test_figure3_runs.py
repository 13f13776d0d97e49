"""Figure 3 on a CPU: the rules on known curves, and runs that go on where they were killed, to the same bits."""

from collections import Counter
from contextlib import contextmanager
from dataclasses import replace

import numpy as np
import pandas as pd
import pytest

from l2m_utils.cli.main import main
from l2m_utils.experiments import figure3_rules as rules
from l2m_utils.experiments import figure3_runs as runs
from l2m_utils.experiments.gpu import race
from l2m_utils.records import stored_table
from l2m_utils.training.checkpoints import CHECKPOINT
from l2m_utils.training.errors import TrainingError

TINY = rules.Budget(
    stages=(
        rules.Stage("search", "transformer", 0, 64, 4),
        rules.Stage("search", "mamba2", 16, 64, 4),
        rules.Stage("first", "mamba2", 4, 64, 4),
        rules.Stage("first", "mamba2", 4, 64, 8),
    ),
    seeds=2,
    tokens=64,
    held_out=128,
    measured=(2, 4, 6, 8),
    every=2,
)
RUN = runs.Run("first", "mamba2", 4, 64, 0, 0.005)


def curve(function, steps=rules.MEASURED):
    return list(steps), [function(n) for n in steps]


def up_to(last):
    return [n for n in rules.MEASURED if n <= last]


def test_known_curves_are_flat_or_not():
    assert rules.flat(64, *curve(lambda n: 0.1))
    assert rules.flat(64, *curve(lambda n: 0.1 + 3.0 / n))
    # A power of the steps falls by (1.5^p - 1) of itself in every third: never 3 %, so only its nats can make it flat.
    power = curve(lambda n: 60.0 / n, up_to(12_000))
    assert rules.FLAT_NATS < 60 / 8000 - 60 / 12_000 and not rules.flat(64, *power)
    late = curve(lambda n: 5.0 / n, up_to(6000))
    assert rules.FLAT_NATS > 5 / 4000 - 5 / 6000 and rules.flat(64, *late)
    assert not rules.flat(64, *curve(lambda n: 5.0 / n, up_to(3000)))  # 0.0008 nats in the last third


def test_a_curve_that_waits_is_not_flat_before_it_has_learnt_and_a_late_drop_shows():
    waits = rules.first_plateau(1024)
    dropping = lambda n: waits if n < 5000 else 0.05
    assert not rules.flat(1024, *curve(dropping, up_to(4200)))  # on the first plateau
    assert not rules.flat(1024, *curve(dropping, up_to(6000)))  # the drop lies in the last third
    assert rules.flat(1024, *curve(dropping, up_to(8400)))
    # A later plateau is called flat, as the rule says of itself; the drop after it is seen at the next judgement.
    later = lambda n: 0.1 if n < 5000 else 0.05
    assert rules.flat(1024, *curve(later, up_to(4200))) and not rules.flat(1024, *curve(later, up_to(6000)))
    # Up and down within the last third is not flat, although its ends agree.
    assert not rules.flat(64, [4000, 4200, 6000], [0.1, 0.2, 0.1])


def test_every_judgement_can_be_asked_and_every_cap_is_measured():
    assert all(2 * n % 3 == 0 and {n, 2 * n // 3} <= set(rules.MEASURED) for n in rules.JUDGED)
    assert set(rules.CAPS) <= set(rules.JUDGED) and pytest.approx(2 * rules.SLOPE_MARGIN / 6) == rules.FLAT_NATS
    assert all(n % rules.PLAN.every == 0 for n in (*rules.MEASURED, *rules.SEARCH_STEPS.values()))
    assert all(n in rules.MEASURED for n in rules.SEARCH_STEPS.values())


def test_the_plan_searches_before_it_compares_and_each_row_has_its_runs():
    searched = set()
    for stage in rules.STAGES:
        searched |= {(stage.kind, stage.length)} if stage.role == "search" else set()
        assert (stage.kind, stage.length) in searched
    last = Counter((s.kind, s.state, s.length) for s in rules.STAGES if s.role != "search" and s.cap == rules.CAPS[-1])
    assert set(last.values()) == {1} and len(last) == 15  # five models, three lengths
    caps = {}
    for stage in rules.STAGES:
        key = stage.role, stage.kind, stage.state, stage.length
        assert stage.cap > caps.get(key, 0)
        caps[key] = stage.cap


def test_all_models_have_nearly_the_same_number_of_weights():
    sizes = []
    for kind, state in (("transformer", 0), *(("mamba2", s) for s in (rules.SMALLEST, *rules.OTHERS))):
        model = replace(RUN, kind=kind, state=state).model.build(64)
        sizes.append(sum(p.numel() for p in model.parameters()))
    assert max(sizes) / min(sizes) < 1.03


def test_the_rate_of_the_least_loss_is_taken_and_none_from_a_plateau():
    wait = rules.first_plateau(1024)
    assert (
        rules.searched_rate(1024, dict(zip(rules.SEARCHED_RATES, (0.2, 0.1, 0.15), strict=True)))
        == rules.SEARCHED_RATES[1]
    )
    assert (
        rules.searched_rate(1024, dict(zip(rules.SEARCHED_RATES, (0.2, 0.21, 0.15), strict=True)))
        == rules.SEARCHED_RATES[2]
    )
    assert (
        rules.searched_rate(1024, dict(zip(rules.SEARCHED_RATES, (wait - 1e-4, wait, wait), strict=True)))
        == rules.SEARCHED_RATES[1]
    )
    with pytest.raises(ValueError, match="expected"):
        rules.searched_rate(64, {2e-3: 0.1})


def test_a_bracket_holds_every_slope_that_smaller_losses_can_have():
    rng, lengths, reached = np.random.default_rng(0), [64, 256, 1024], np.array([0.001, 0.01, 0.03])
    low, high = rules.slope_bracket(lengths, reached)
    slopes = [np.polyfit(np.log2(lengths), reached * rng.random(3), 1)[0] for _ in range(200)]
    assert low < min(slopes) and max(slopes) < high
    corners = [np.polyfit(np.log2(lengths), reached * [a, b, c], 1)[0] for a in (0, 1) for b in (0, 1) for c in (0, 1)]
    assert (low, high) == pytest.approx((min(corners), max(corners)))


@pytest.mark.parametrize("at", [1, 3, 6])
def test_a_run_that_was_killed_ends_with_the_same_bits(tmp_path, monkeypatch, at):
    whole = runs.advance(RUN, tmp_path / "whole", 8, TINY, progress=False)
    original = runs.batches

    def failing(source, cell):
        make = original(source, cell)

        def batch(step, rank, world):
            if step == at:
                raise KeyboardInterrupt
            return make(step, rank, world)

        return batch

    monkeypatch.setattr(runs, "batches", lambda source, cell: failing(source, cell))
    monkeypatch.setattr(runs, "_flops", lambda run, batch: whole["flops"])
    with pytest.raises(KeyboardInterrupt):
        runs.advance(RUN, tmp_path / "killed", 8, TINY, progress=False)
    monkeypatch.setattr(runs, "batches", original)
    again = runs.advance(RUN, tmp_path / "killed", 8, TINY, progress=False)
    bits = lambda run: [(row["steps"], row["kl"], row["training_kl"]) for row in run["curve"]]
    assert bits(again) == bits(whole) and again["positions"] == whole["positions"]
    assert [row["steps"] for row in whole["curve"]] == [2, 4, 6, 8]


def test_a_run_goes_on_to_a_later_cap_as_if_it_had_not_stopped(tmp_path):
    whole = runs.advance(RUN, tmp_path / "whole", 8, TINY, progress=False)
    runs.advance(RUN, tmp_path / "stages", 4, TINY, progress=False)
    staged = runs.advance(RUN, tmp_path / "stages", 8, TINY, progress=False)
    assert [row["kl"] for row in staged["curve"]] == [row["kl"] for row in whole["curve"]]
    seconds = [row["seconds"] for row in staged["curve"]]
    assert seconds == sorted(seconds)


def test_a_measurement_is_that_of_the_averaged_weights(tmp_path):
    # After the first step the average is the weights themselves, at a rate of nearly nothing those of the beginning.
    still = replace(RUN, learning_rate=1e-12)
    content = runs.advance(still, tmp_path, 4, TINY, progress=False)
    model, (values, means, std) = RUN.model.build(64).eval(), runs._held_out(64, TINY.held_out)
    assert content["curve"][-1]["kl"] == pytest.approx(
        float(race.held_out_kl(model, values, means, std).mean()), rel=1e-6
    )


def test_a_lost_curve_begins_anew_and_a_damaged_one_is_refused(tmp_path):
    first = runs.advance(RUN, tmp_path, 4, TINY, progress=False)
    home = tmp_path / RUN.name
    path = home / "run.json"
    text = path.read_text()
    for damage in (text.replace('"kl": 0.', '"kl": 1.', 1), text[: len(text) // 2], "[]"):
        path.write_text(damage)
        with pytest.raises(TrainingError, match="delete its folder to train it again"):
            runs.advance(RUN, tmp_path, 8, TINY, progress=False)
        with pytest.raises(TrainingError, match="damaged"):
            runs.known_runs(tmp_path, tmp_path / "nothing")
    path.write_text(text)
    with pytest.raises(TrainingError, match="another configuration"):
        runs.advance(RUN, tmp_path, 8, replace(TINY, tokens=128), progress=False)
    path.unlink()
    assert (home / CHECKPOINT).exists()
    assert runs.advance(RUN, tmp_path, 4, TINY, progress=False)["curve"][-1]["kl"] == first["curve"][-1]["kl"]


def test_the_plan_is_run_once_and_what_was_published_is_not_made_again(tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(rules, "SEARCHED_RATES", (5e-3,))
    monkeypatch.setattr(runs, "_flops", lambda run, batch: 7)
    monkeypatch.setattr(runs, "commit", lambda: "0")
    monkeypatch.setattr(runs, "hardware", lambda: "none")
    monkeypatch.setattr(runs, "pace_of_steps", lambda: pd.DataFrame({"seconds": [1.0]}))
    folder, results = tmp_path / "runs", tmp_path / "results"
    runs.decide(folder, results, TINY, progress=False)
    said = capsys.readouterr().out.splitlines()
    assert len(said) == 1 + 1 + 2 + 2  # a rate of two models; two seeds, twice
    runs.decide(folder, results, TINY, progress=False)
    assert capsys.readouterr().out == ""

    curves = runs.collect_decided(folder, results / "laptop-none", results, TINY)
    assert len(curves.drop_duplicates(runs.TELLS_RUNS)) == 4 and set(curves.role) == {"search", "first"}
    positions = stored_table("models/figure3", "positions", results=results)[0]
    assert len(positions) == 4 * 64 and set(positions.steps) == {4, 8}
    runs.decide(tmp_path / "elsewhere", results, TINY, progress=False)
    assert capsys.readouterr().out == "" and not (tmp_path / "elsewhere").exists()
    # A folder that has come further than what was published wins, and what it lacks stays.
    longer = replace(
        TINY, stages=(*TINY.stages, rules.Stage("first", "mamba2", 4, 64, 10)), measured=(*TINY.measured, 10)
    )
    runs.decide(tmp_path / "elsewhere", results, longer, progress=False)
    again = runs.collect_decided(tmp_path / "elsewhere", results / "laptop-none", results, TINY)
    last = again.groupby(["role", "seed", "learning_rate"]).steps.max()
    assert set(last["first"]) == {10} and set(last["search"]) == {4}
    pd.testing.assert_frame_equal(
        again[again.role == "search"].reset_index(drop=True), curves[curves.role == "search"].reset_index(drop=True)
    )

    table = runs.stage_table(again, None, longer)
    assert table.done.tolist() == table.runs.tolist() == [1, 1, 2, 2, 2] and table.seconds.sum() == 0
    more = replace(longer, stages=(*longer.stages, rules.Stage("first", "mamba2", 4, 64, 30)))
    runs.decide(folder, results, more, hours=0.0, progress=False)
    assert "0 CPU hours are spent: first-mamba2-4-64-0.005-s0 and what follows stays open" in capsys.readouterr().out
    row = runs.stage_table(again, None, more).iloc[-1]
    last = again[again.kind == "mamba2"].groupby(runs.TELLS_RUNS).tail(1)
    assert row.done == 0 and row.seconds == pytest.approx(2 * 20 * last.seconds.sum() / last.steps.sum())


def test_several_processes_share_the_plan_and_make_no_run_twice(tmp_path, monkeypatch, capsys):
    """What another process holds is left to it, what comes after is done meanwhile, and in the end nothing is open."""
    monkeypatch.setattr(rules, "SEARCHED_RATES", (5e-3,))
    monkeypatch.setattr(runs, "_flops", lambda run, batch: 7)
    held, made, sleeps, advance = {RUN.name}, [], [], runs.advance

    @contextmanager
    def claims(folder):
        @contextmanager
        def claim(name, wait):
            yield name not in held

        yield claim

    def counted(run, folder, cap, *rest, **more):
        made.append((run.name, cap))
        return advance(run, folder, cap, *rest, **more)

    def other_process(seconds):
        sleeps.append(seconds)
        held.clear()
        advance(RUN, tmp_path, 4, TINY, progress=False)

    monkeypatch.setattr(runs, "claims", claims)
    monkeypatch.setattr(runs, "advance", counted)
    monkeypatch.setattr(runs.time, "sleep", other_process)
    runs.decide(tmp_path, tmp_path / "results", TINY, progress=False)
    other = replace(RUN, seed=1).name
    assert len(sleeps) == 1 and made[2:] == [(other, 4), (other, 8), (RUN.name, 8)]
    assert len(made) == len(capsys.readouterr().out.splitlines()) == 5
    table = runs.stage_table(runs.known_runs(tmp_path, tmp_path / "results", TINY)[0], None, TINY)
    assert table.done.tolist() == table.runs.tolist()


def test_a_search_that_is_under_way_elsewhere_is_waited_for(tmp_path, monkeypatch):
    monkeypatch.setattr(rules, "SEARCHED_RATES", (5e-3,))
    monkeypatch.setattr(runs, "is_done", lambda *_: False)

    @contextmanager
    def claims(folder):
        @contextmanager
        def claim(name, wait):
            yield False

        yield claim

    def enough(seconds):
        raise InterruptedError

    monkeypatch.setattr(runs, "claims", claims)
    monkeypatch.setattr(runs.time, "sleep", enough)
    with pytest.raises(InterruptedError):
        runs.decide(tmp_path, tmp_path, TINY, progress=False)


def test_a_run_that_has_only_begun_does_not_count(tmp_path):
    runs.advance(RUN, tmp_path, 2, TINY, progress=False)
    assert runs.known_runs(tmp_path, tmp_path, TINY)[0].empty
    runs.advance(RUN, tmp_path, 4, TINY, progress=False)
    curves, positions = runs.known_runs(tmp_path, tmp_path, TINY)
    assert curves.steps.tolist() == [2, 4] and len(positions) == 64


def test_a_comparison_without_its_search_says_so(tmp_path):
    with pytest.raises(ValueError, match="not finished: its stage comes first"):
        runs.runs_of(TINY.stages[2], pd.DataFrame(), 2)
    table = runs.stage_table(pd.DataFrame())
    assert (table.done == 0).all() and table.seconds.isna().all()


def test_the_pace_of_what_was_not_run_is_that_of_timed_steps(monkeypatch):
    monkeypatch.setattr(rules, "FIGURE3_LENGTHS", (64,))
    pace = runs.pace_of_steps(1)
    assert pace.kind.tolist() == ["transformer", "mamba2"] and (pace.seconds > 0).all()
    table = runs.stage_table(pd.DataFrame(), pace, replace(TINY, seeds=3))
    assert table.seconds.tolist() == pytest.approx(
        [4 * n * s for n, s in zip((3, 3, 3, 3), pace.seconds[[0, 1, 1, 1]], strict=True)]
    )


def test_the_command_lists_the_plan_and_refuses_to_collect_nothing(tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(runs, "pace_of_steps", lambda: None)
    assert main(["gaussian", "--decide", "--list", "--folder", str(tmp_path), "--results", str(tmp_path)]) == 0
    assert "CPU hours left, if no run is flat before its cap" in capsys.readouterr().out
    assert main(["gaussian", "--decide", "--collect", "--folder", str(tmp_path), "--results", str(tmp_path)]) != 0
    assert "l2m gaussian --decide" in capsys.readouterr().err
