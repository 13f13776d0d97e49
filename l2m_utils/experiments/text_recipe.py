"""Sizes and budget of a comparison of language models on books."""

from __future__ import annotations

from dataclasses import dataclass

from l2m_utils.models.configurations import TEXT, Shape
from l2m_utils.training.loop import Settings

TEXT_KINDS = ("gpt2", "mamba2", "mamba", "gpt2-conv")  # of the recipe's size; any other name is a model of table F.2


@dataclass(frozen=True)
class TextRecipe:
    """Sizes and budget of one comparison; the same for every architecture but for ``layers``.

    A state-space block holds about half the weights of a transformer block (attention and MLP), so it gets twice the ``layers``, as in
    table F.2 of the paper.  ``rates`` are the learning rates tried for ``search`` steps each; the best one trains every budget.
    A step reads ``batch`` rows of ``context`` tokens; for the share ``short`` of the steps it reads as many tokens in rows of a quarter of that length:
    what a young model learns is local, and it learns to look far back only after it has learnt to look back at all.  ``seed`` draws weights and rows;
    the split into training and held-out documents is the same for every seed.
    """

    layers: int = 4
    width: int = 128
    context: int = 512
    vocabulary: int = 2048
    steps: int = 900
    batch: int = 4
    short: float = 0.6
    rates: tuple[float, ...] = (4e-3, 1e-2, 2e-2)
    search: int = 90
    document_bytes: int = 250_000
    held_out: float = 0.2
    samples_per_document: int = 12
    precision: str = "fp32"
    device: str = "auto"
    seed: int = 0

    def rows(self, progress: float) -> tuple[int, int]:
        """Rows and tokens a row of a step when the share ``progress`` of the steps is done.

        >>> TextRecipe().rows(0.0), TextRecipe().rows(0.6)
        ((16, 128), (4, 512))
        """
        return (
            (4 * self.batch, self.context // 4)
            if progress < self.short and self.context % 4 == 0
            else (self.batch, self.context)
        )

    def settings(self, steps: int, rate: float) -> Settings:
        """What the training loop is told: a warm-up over the first twentieth, a cosine to zero, some twenty log rows.

        >>> TextRecipe().settings(900, 0.01).warmup
        45
        """
        return Settings(
            steps,
            rate,
            warmup=steps // 20,
            weight_decay=0.1,
            betas=(0.9, 0.95),
            precision=self.precision,
            device=self.device,
            log_every=max(1, steps // 20),
            save_every=100,
            seed=self.seed,
        )

    def shape(self, kind: str) -> Shape:
        """The network of a model: of this recipe's size for one of :data:`TEXT_KINDS`, else of table F.2; ``ValueError`` for an unknown name.

        >>> [(s.family, s.layers, s.width) for s in map(TextRecipe().shape, ("mamba", "mamba-790m"))]
        [('mamba', 8, 128), ('mamba', 48, 1536)]
        """
        if kind in TEXT_KINDS:
            layers = self.layers if kind.startswith("gpt2") else 2 * self.layers
            head = 64 if self.width >= 512 else min(32, self.width)
            return Shape(kind, layers, self.width, self.context, head, chunk=32)
        if kind not in TEXT:
            raise ValueError(f"model {kind!r}: expected one of {', '.join(dict.fromkeys((*TEXT_KINDS, *TEXT)))}")
        return TEXT[kind].shape(self.context)
