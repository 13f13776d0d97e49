"""Stage c: GPT-2, GPT-2 with a short convolution and Mamba-2 on books at 4,096 tokens: do their losses by position cross?

The models take one step each in turn on the same rows, so that whenever the stage is cut all have had the same budget.  The learning rate is
constant after a warm-up and falls to zero over the last fifth of a number of steps that is fixed once the speed is known; before that, running averages of the
weights are scored, which need no schedule.  Scores are those of :func:`l2m_utils.experiments.text_runs.score_positions`, on books of held-out authors.
"""

from __future__ import annotations

import math
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
from l2m_utils.experiments.text_budget import bands
from l2m_utils.experiments.text_recipe import TextRecipe
from l2m_utils.experiments.text_runs import SEARCH_ROWS, rows_from_sentences, score_positions
from l2m_utils.layers.mixers import Mamba2Mixer
from l2m_utils.models.language import TextModel, make
from l2m_utils.text.tokens import TokenCorpus
from l2m_utils.training.muon import muon_and_adamw

KINDS = ("mamba2", "gpt2", "gpt2-conv")
RECIPE = TextRecipe(
    layers=6,
    width=256,
    context=4096,
    vocabulary=4096,
    batch=8,
    short=0.3,
    samples_per_document=8,
    precision="bf16",
    device="cuda",
)
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
    return Contender(
        model,
        muon_and_adamw(model, recipe.settings(1000, rate)),
        [p.detach().clone() for p in model.parameters()],
        rate,
    )


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
        return score_positions(one.model, held, recipe, progress=False, at_once=16)
    finally:
        torch._foreach_copy_(parameters, present)
        one.model.train()


class Comparison:
    """The models of :data:`KINDS` on the same rows: :meth:`search` a rate for each, :meth:`advance` step by step, :meth:`measure`."""

    def __init__(self, archive: Archive, learn: TokenCorpus, held: TokenCorpus, recipe: TextRecipe):
        self.archive, self.held, self.recipe, self.vocabulary = archive, held, recipe, learn.vocabulary_size
        self.device, self.tokens = torch.device(recipe.device), recipe.batch * recipe.context
        self.draw = rows_from_sentences(learn, recipe)
        self.runs: list[dict] = []
        self.curve: list[dict] = []
        self.losses: dict[tuple[str, int], pd.DataFrame] = {}
        self.field: dict[str, Contender] = {}
        self.cost: dict[str, float] = {}  # seconds of a step of whole rows
        self.done, self.training = 0, 0.0

    def batch(self, number: int, progress: float) -> tuple[Tensor, Tensor]:
        """Rows of a step on the device: ids and the position of each row's first token."""
        return tuple(part.to(self.device, non_blocking=True) for part in self.draw(number, *self.recipe.rows(progress)))

    def tried(self, kind: str, rate: float, steps: int) -> None:
        """A short run at one learning rate on whole rows; a row of ``runs`` with the mean loss of its last quarter and the seconds of a step."""
        one, total, last, start = contender(kind, self.vocabulary, self.recipe, rate), 0.0, max(1, steps // 4), 0.0
        for number in range(steps):
            step(one, self.batch(SEARCH_ROWS + number, 1.0), self.recipe, rate * min(1.0, 4 * (number + 1) / steps))
            if number >= steps - last:
                total = total + one.loss
            if number == steps // 2:
                synchronize(self.device)
                start = time.monotonic()
        synchronize(self.device)
        self.cost[kind] = (time.monotonic() - start) / max(1, steps - steps // 2 - 1)
        about = {"model": kind, "purpose": "search", "seed": self.recipe.seed, "learning_rate": rate, "budget": steps}
        self.runs.append(about | {"training_nll": float(total / last), "step_seconds": self.cost[kind]})

    def search(self, rates: tuple[float, ...], steps: int) -> None:
        """Choose the learning rate of every model among ``rates``, and make ready those that could be trained."""
        for kind in KINDS:
            with self.archive.part(f"search {kind}"):
                for rate in rates:
                    self.tried(kind, rate, steps)
                found = [row for row in self.runs if row["model"] == kind and math.isfinite(row["training_nll"])]
                best = min(found, key=lambda row: row["training_nll"])["learning_rate"]
                self.field[kind] = contender(kind, self.vocabulary, self.recipe, best)
            self.archive.table("runs", pd.DataFrame(self.runs))
            self.archive.flush()
        if not self.field:
            raise RuntimeError("none of the models could be trained: failures.json in the archive says why")

    def advance(self, steps: int, look: bool) -> None:
        """One step of every model as one of ``steps``; where ``look``, wait for it and read the losses."""
        start = time.monotonic()
        rows = self.batch(self.done, self.done / steps)
        for one in self.field.values():
            if one.alive:
                step(one, rows, self.recipe, rate_at(self.done, steps, one.rate))
        self.done += 1
        if self.done % AVERAGED == 0 or look:
            for one in self.field.values():
                follow(one, self.done)
        if look:
            synchronize(self.device)
            for kind, one in self.field.items():
                number = float(one.loss)
                self.curve.append(
                    {"model": kind, "steps": self.done, "tokens": self.done * self.tokens, "training_nll": number}
                )
                if one.alive and not number < 20:
                    one.alive = False
                    error = FloatingPointError(f"loss {number} after {self.done} steps at rate {one.rate}")
                    self.archive.fail(f"training {kind}", error)
        self.training += time.monotonic() - start

    def measure(self, averaged: bool) -> float:
        """Score all models on the held-out books and renew the archive; returns seconds."""
        start = time.monotonic()
        for kind, one in self.field.items():
            if not one.alive:
                continue
            with self.archive.part(f"score {kind} after {self.done} steps"):
                frame = scored(one, self.held, self.recipe, averaged).assign(
                    model=kind, budget=self.done, seed=self.recipe.seed
                )
                self.losses[kind, self.done] = frame
                row = {
                    "model": kind,
                    "purpose": "average" if averaged else "final",
                    "seed": self.recipe.seed,
                    "learning_rate": one.rate,
                    "budget": self.done,
                    "tokens": self.done * self.tokens,
                    "parameters": sum(p.numel() for p in one.model.parameters()),
                    "state_numbers": one.model.state_at(self.recipe.context),
                    "training_nll": float(one.loss),
                    "held_out_nll": float(frame.nll_sum.sum() / frame.samples.sum()),
                    "step_seconds": self.cost[kind],
                    "seconds": self.training,
                }
                self.runs.append(row)
                print(f"  {kind}, {self.done} steps: {row['held_out_nll']:.4f} nats held out", flush=True)
        self.archive.table("runs", pd.DataFrame(self.runs))
        if self.losses:
            self.archive.table("bands", pd.concat([bands(frame) for frame in self.losses.values()], ignore_index=True))
            self.archive.table("losses", latest(self.losses))
        self.archive.table("training", pd.DataFrame(self.curve))
        self.archive.flush()
        return time.monotonic() - start

    def run(self, end: float, budgets: tuple[int, ...], fixed: bool) -> int:
        """Train until the clock ``time.monotonic`` shows ``end``, measuring at ``budgets`` and at the end; returns how many steps were planned.

        ``fixed`` makes the last budget the number of steps, whatever the time.
        """
        short, most = self.recipe.short, LARGEST // self.tokens
        lap = whole = sum(self.cost.values())  # seconds of a step of all models: the last ones, and of whole rows
        scoring = 0.1 if fixed else 6 * lap + 3.0  # seconds, until it is measured
        first = int((end - time.monotonic() - 5 * scoring) / lap)
        steps, since = budgets[-1] if fixed else min(most, max(2 * budgets[0], first)), (0, 0.0)
        while self.done < steps and any(one.alive for one in self.field.values()):
            self.advance(steps, look=(self.done + 1) % 20 == 0 or self.done + 1 in (*budgets, steps))
            if self.done in budgets and self.done < steps:
                scoring = self.measure(averaged=True)
                lap, early = (self.training - since[1]) / (self.done - since[0]), since[0] < short * steps
                since, whole = (self.done, self.training), whole if early else lap
                # Until the rate falls, another number of steps changes nothing that was done.
                if not fixed and self.done < (1 - COOLING - 0.05) * steps:
                    left = (
                        end - time.monotonic() - scoring * (1.5 + sum(self.done < budget < steps for budget in budgets))
                    )
                    more = planned(self.done, 0.97 * left, short, lap if early else whole, whole)
                    steps = min(most, max(self.done + 1, more))
                    print(
                        f"  a step of all takes {lap:.3f} s, a scoring {scoring:.1f} s: {steps} steps, {steps * self.tokens / 1e6:.0f} M tokens",
                        flush=True,
                    )
            if not fixed and time.monotonic() + 1.2 * scoring + 2 * whole > end:
                break
        self.measure(averaged=self.done < steps)
        return steps


def run(out: Path, seconds: float, data: Path | None = None, commit: str = "unknown", rehearse: bool = False) -> None:
    """Run the stage for at most ``seconds`` on the corpora in ``data`` and leave ``stage-c.zip`` in ``out``."""
    begun = time.monotonic()
    if not rehearse and not torch.cuda.is_available():
        raise RuntimeError("torch sees no GPU here; --rehearse runs the same code on the CPU at tiny sizes")
    recipe = TINY if rehearse else RECIPE
    if rehearse:
        torch.set_num_threads(1)
    torch.backends.cuda.matmul.allow_tf32 = (
        True  # ten bits of mantissa in what autocast leaves in float32, and in the scores
    )
    archive = Archive(out, "c", commit, rehearsal=rehearse, recipe=vars(recipe), tf32=True, cooling=COOLING)
    sizes = {"limit": 24, "characters": 4000, "processes": 1} if rehearse else {}
    learn, held, titles = tokenised(Path(data), recipe.vocabulary, **sizes)
    archive.table("held-out", titles.assign(tokens=held.lengths))
    about = {"training_tokens": len(learn.ids), "training_documents": len(learn), "held_out_tokens": len(held.ids)}
    archive.json("corpus", about | {"vocabulary": learn.vocabulary_size, "seconds": time.monotonic() - begun})
    archive.flush()
    print(
        f"  {len(learn.ids):,} training tokens of {len(learn)} documents after {time.monotonic() - begun:.0f} s",
        flush=True,
    )
    this = Comparison(archive, learn, held, recipe)
    this.search(RATES, 2 if rehearse else SEARCH)
    steps = this.run(begun + seconds - LAST_WORDS, (2, 4) if rehearse else BUDGETS, fixed=rehearse)
    speed = this.done * this.tokens / max(this.training, 1e-9)
    archive.json(
        "speed", {"steps": this.done, "planned": steps, "seconds": this.training, "tokens_per_second_of_each": speed}
    )
    archive.flush()


def latest(losses: dict[tuple[str, int], pd.DataFrame]) -> pd.DataFrame:
    """Losses by position of the last budget of every model, in 1/64 of a nat: finer digits of a sum of some samples say nothing."""
    last = {kind: max(budget for other, budget in losses if other == kind) for kind, _ in losses}
    frame = pd.concat([losses[kind, budget] for kind, budget in last.items()], ignore_index=True)
    return frame.assign(**{name: (frame[name] * 64).round() / 64 for name in ("nll_sum", "near_sum")}).astype(
        {"document": "int16", "position": "int16", "samples": "int16"}
    )
