"""Stage c: GPT-2, GPT-2 with a short convolution and Mamba-2 on books at 4,096 tokens: do their losses by position cross?

The models take one step each in turn on the same rows, so that whenever the stage is cut all have had the same budget.  The learning rate is
constant after a warm-up and falls to zero over the last fifth of a number of steps that is fixed once the speed is known; before that, running averages of the
weights are scored, which need no schedule.  Scores are those of :func:`l2m_utils.experiments.text_runs.score`, on books of held-out authors.
"""

from __future__ import annotations

import time
from contextlib import nullcontext
from dataclasses import dataclass
from pathlib import Path

import pandas as pd
import torch
from torch import Tensor, nn

from l2m_utils.experiments.gpu.archive import Archive
from l2m_utils.experiments.gpu.books import tokenised
from l2m_utils.experiments.gpu.clock import synchronize
from l2m_utils.layers.mixers import Mamba2Mixer
from l2m_utils.experiments.text_budget import bands
from l2m_utils.experiments.text_recipe import TextRecipe
from l2m_utils.models.language import TextModel, make
from l2m_utils.training.muon import muon_and_adamw
from l2m_utils.experiments.text_runs import SEARCH_ROWS, rows_from_sentences, score

KINDS = ("mamba2", "gpt2", "gpt2-conv")
RECIPE = TextRecipe(layers=6, width=256, context=4096, vocabulary=4096, batch=8, short=0.3, samples_per_document=8, precision="bf16", device="cuda")
TINY = TextRecipe(layers=1, width=32, context=16, vocabulary=300, batch=2, samples_per_document=2, device="cpu")
RATES, SEARCH = (5e-3, 1.5e-2), 60  # learning rates tried for so many steps each
BUDGETS = (100, 200, 400, 800, 1600, 3200)  # steps after which all models are scored
LARGEST = 100_000_000  # tokens
AVERAGED, SHARPNESS = 5, 6.0  # steps between updates of the averaged weights; step s counts as s^6
COOLING = 0.2  # share of the steps in which the rate falls to zero
WARMUP = 40
LAST_WORDS = 3.0  # seconds kept for what cannot be foreseen


@dataclass
class Contender:
    """A model in training, with its optimizers and averaged weights."""

    model: TextModel
    makers: list[torch.optim.Optimizer]
    average: list[Tensor]
    rate: float
    loss: Tensor | None = None
    alive: bool = True
    seconds: float = 0.0


def contender(kind: str, vocabulary: int, recipe: TextRecipe, rate: float) -> Contender:
    """A fresh model of the recipe's seed on its device, ready to train."""
    model = make(recipe.shape(kind), vocabulary, recipe.seed).to(recipe.device).train()
    if recipe.device == "cuda":
        for module in model.modules():
            if isinstance(module, Mamba2Mixer):
                module.chunk = 64  # fewer, larger products: a GPU pays by the kernel, and the sums are the same
    return Contender(model, muon_and_adamw(model, recipe.settings(1000, rate)), [p.detach().clone() for p in model.parameters()], rate)


def autocast(recipe: TextRecipe):
    """bfloat16 where the recipe says so."""
    return torch.autocast(recipe.device, torch.bfloat16) if recipe.precision == "bf16" else nullcontext()


def step(one: Contender, batch: tuple[Tensor, ...], recipe: TextRecipe, rate: float) -> None:
    """One training step at learning rate ``rate``; nothing in it waits for the device."""
    with autocast(recipe):
        loss = one.model(*batch).mean()
    one.model.zero_grad(set_to_none=True)
    loss.backward()
    nn.utils.clip_grad_norm_(one.model.parameters(), 1.0)
    for maker in one.makers:
        for group in maker.param_groups:
            group["lr"] = rate
        maker.step()
    one.loss = loss.detach()


def follow(one: Contender, done: int) -> None:
    """Move the averaged weights towards the present ones, after ``done`` steps."""
    kept = (1 - min(AVERAGED, done) / done) ** (SHARPNESS + 1)
    torch._foreach_lerp_(one.average, [p.detach() for p in one.model.parameters()], 1 - kept)


def rate_at(number: int, steps: int, peak: float) -> float:
    """Learning rate of step 0, 1, … of ``steps``: warm-up, constant, a line to zero at the end.

    >>> [round(rate_at(n, 1000, 1.0), 3) for n in (0, 39, 500, 900, 999)]
    [0.025, 1.0, 1.0, 0.5, 0.005]
    """
    return peak * min(1.0, (number + 1) / WARMUP, (steps - number) / max(1.0, COOLING * steps))


def planned(done: int, seconds: float, short: float, brief: float, whole: float) -> int:
    """How many steps in all fit into ``seconds`` after ``done`` of them, when one of short rows takes ``brief`` seconds and one of whole rows ``whole``.

    >>> planned(100, 90.0, 0.3, 0.1, 0.1), planned(0, 100.0, 0.5, 0.1, 0.3)
    (1000, 500)
    """
    low, high = done, done + int(seconds / min(brief, whole)) + 1
    while low < high:
        middle = (low + high + 1) // 2
        early = max(0.0, short * middle - done)
        if early * brief + (middle - done - early) * whole <= seconds * (1 + 1e-9):
            low = middle
        else:
            high = middle - 1
    return low


def scored(one: Contender, held, recipe: TextRecipe, averaged: bool) -> pd.DataFrame:
    """Losses by held-out book and position of a contender's averaged or present weights."""
    parameters = [p.data for p in one.model.parameters()]
    present = [p.clone() for p in parameters]
    if averaged:
        torch._foreach_copy_(parameters, one.average)
    try:
        return score(one.model, held, recipe, progress=False, at_once=16)
    finally:
        torch._foreach_copy_(parameters, present)
        one.model.train()


def run(out: Path, seconds: float, data: Path | None = None, commit: str = "unknown", rehearse: bool = False) -> None:
    """Run the stage for at most ``seconds`` on the corpora in ``data`` and leave ``stage-c.zip`` in ``out``."""
    begun, end = time.monotonic(), time.monotonic() + seconds - LAST_WORDS
    if not rehearse and not torch.cuda.is_available():
        raise RuntimeError("torch sees no GPU here; --rehearse runs the same code on the CPU at tiny sizes")
    recipe = TINY if rehearse else RECIPE
    if rehearse:
        torch.set_num_threads(1)
    device = torch.device(recipe.device)
    search, budgets, rates = (2, (2, 4), RATES) if rehearse else (SEARCH, BUDGETS, RATES)
    torch.backends.cuda.matmul.allow_tf32 = True  # ten bits of mantissa in what autocast leaves in float32, and in the scores
    archive = Archive(out, "c", commit, rehearsal=rehearse, recipe=vars(recipe), tf32=True, cooling=COOLING)
    learn, held, titles = tokenised(Path(data), recipe.vocabulary, *((24, 4000, 1) if rehearse else (None, None, 0)))
    archive.table("held-out", titles.assign(tokens=held.lengths))
    archive.json("corpus", {"training_tokens": len(learn.ids), "training_documents": len(learn), "held_out_tokens": len(held.ids), "vocabulary": learn.vocabulary_size, "seconds": time.monotonic() - begun})
    archive.flush()
    print(f"  {len(learn.ids):,} training tokens of {len(learn)} documents after {time.monotonic() - begun:.0f} s", flush=True)
    draw = rows_from_sentences(learn, recipe)

    def batch(number: int, progress: float) -> tuple[Tensor, Tensor]:
        return tuple(part.to(device, non_blocking=True) for part in draw(number, *recipe.rows(progress)))

    # A coarse search of the learning rate, which also says what a step of whole rows costs.
    runs, chosen, cost = [], {}, {}
    for kind in KINDS:
        with archive.part(f"search {kind}"):
            for rate in rates:
                one, total, count = contender(kind, learn.vocabulary_size, recipe, rate), 0.0, 0
                for number in range(search):
                    step(one, batch(SEARCH_ROWS + number, 0.5), recipe, rate * min(1.0, (number + 1) / (search / 4)))
                    if number >= search - max(1, search // 4):
                        total, count = total + one.loss, count + 1
                    if number == search // 2:
                        synchronize(device)
                        start = time.monotonic()
                synchronize(device)
                loss = float(total / count)
                cost[kind] = (time.monotonic() - start) / max(1, search - search // 2 - 1)
                runs.append({"model": kind, "purpose": "search", "seed": recipe.seed, "learning_rate": rate, "budget": search, "training_nll": loss, "step_seconds": cost[kind]})
            found = [row for row in runs if row["model"] == kind and row["training_nll"] == row["training_nll"]]
            chosen[kind] = min(found, key=lambda row: row["training_nll"])["learning_rate"]
            del one
        archive.table("runs", pd.DataFrame(runs))
        archive.flush()
    field = {}
    for kind in chosen:
        with archive.part(f"start {kind}"):
            field[kind] = contender(kind, learn.vocabulary_size, recipe, chosen[kind])
    if not field:
        archive.flush()
        raise RuntimeError("none of the models could be started: failures.json in the archive says why")
    tokens = recipe.batch * recipe.context

    # What one scoring costs is measured at the first budget; the number of steps is fixed then.
    losses: dict[tuple[str, int], pd.DataFrame] = {}
    curve: list[dict] = []
    lap = whole = sum(cost.values())  # seconds of a step of all models: the last ones, and of whole rows
    guess = 6 * lap + 3.0 if not rehearse else 0.1  # seconds of one scoring of all models, until it is measured
    steps = budgets[-1] if rehearse else int(min(LARGEST // tokens, max(2 * budgets[0], (end - time.monotonic() - 5 * guess) / lap)))
    training, since = 0.0, (0, 0.0)

    def measure(done: int, averaged: bool) -> None:
        for kind, one in field.items():
            if not one.alive:
                continue
            with archive.part(f"score {kind} after {done} steps"):
                frame = scored(one, held, recipe, averaged).assign(model=kind, budget=done, seed=recipe.seed)
                losses[kind, done] = frame
                runs.append({
                    "model": kind, "purpose": "final" if not averaged else "average", "seed": recipe.seed, "learning_rate": one.rate, "budget": done, "tokens": done * tokens,
                    "parameters": sum(p.numel() for p in one.model.parameters()), "state_numbers": one.model.state_at(recipe.context), "training_nll": float(one.loss),
                    "held_out_nll": float(frame.nll_sum.sum() / frame.samples.sum()), "step_seconds": cost[kind], "seconds": training,
                })  # fmt: skip
                print(f"  {kind}, {done} steps: {runs[-1]['held_out_nll']:.4f} nats held out", flush=True)
        archive.table("runs", pd.DataFrame(runs))
        if losses:
            archive.table("bands", pd.concat([bands(frame) for frame in losses.values()], ignore_index=True))
            archive.table("losses", latest(losses))
        archive.table("training", pd.DataFrame(curve))
        archive.flush()

    done = 0
    while done < steps and any(one.alive for one in field.values()):
        start = time.monotonic()
        rows = batch(done, done / steps)
        for one in field.values():
            if one.alive:
                step(one, rows, recipe, rate_at(done, steps, one.rate))
        done += 1
        if done % AVERAGED == 0 or done in budgets:
            for one in field.values():
                follow(one, done)
        if done % 20 == 0 or done in budgets or done == steps:
            synchronize(device)
            for kind, one in field.items():
                number = float(one.loss)
                curve.append({"model": kind, "steps": done, "tokens": done * tokens, "training_nll": number})
                if one.alive and not number < 20:
                    one.alive = False
                    archive.fail(f"training {kind}", FloatingPointError(f"loss {number} after {done} steps at rate {one.rate}"))
        training += time.monotonic() - start
        if done in budgets and done < steps:
            start = time.monotonic()
            measure(done, averaged=True)
            guess = time.monotonic() - start
            lap, early = (training - since[1]) / (done - since[0]), since[0] < recipe.short * steps
            since = (done, training)
            whole = whole if early else lap
            if not rehearse and done < (1 - COOLING - 0.05) * steps:  # until the rate falls, another number of steps changes nothing that was done
                left = end - time.monotonic() - guess * (1.5 + sum(done < budget < steps for budget in budgets))
                steps = min(LARGEST // tokens, max(done + 1, planned(done, 0.97 * left, recipe.short, lap if early else whole, whole)))
                print(f"  a step of all models takes {lap:.3f} s, a scoring {guess:.1f} s: {steps} steps, {steps * tokens / 1e6:.0f} M tokens", flush=True)
        if not rehearse and time.monotonic() + 1.2 * guess + 2 * whole > end:
            archive.json("cut", {"planned": steps, "done": done})
            break
    measure(done, averaged=done < steps)
    archive.json("speed", {"steps": done, "planned": steps, "seconds": training, "tokens_per_second_of_each": done * tokens / max(training, 1e-9), "step_seconds": cost})
    archive.flush()


def latest(losses: dict[tuple[str, int], pd.DataFrame]) -> pd.DataFrame:
    """Losses by position of the last budget of every model, in 1/64 of a nat: finer digits of a sum of some samples say nothing."""
    last = {kind: max(budget for other, budget in losses if other == kind) for kind, _ in losses}
    frame = pd.concat([losses[kind, budget] for kind, budget in last.items()], ignore_index=True)
    return frame.assign(**{name: (frame[name] * 64).round() / 64 for name in ("nll_sum", "near_sum")}).astype({"document": "int16", "position": "int16", "samples": "int16"})

