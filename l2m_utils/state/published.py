"""History states of architectures that ``transformers`` does not have, from their published formulas.

The sizes are ours where a paper has no single reference model (``width`` 1024 and 24 layers, so that the rows compare);
the formula is the paper's, cited by the key that the book's bibliography has.  Small implementations in the tests count
the stored numbers again.
"""

from __future__ import annotations

from dataclasses import dataclass

from l2m_utils import paper
from l2m_utils.state.kinds import STATE, TOKENS, Architecture, Growth, Term

LAYERS, MODEL_WIDTH, HEADS = 24, 1024, 16
HEAD = MODEL_WIDTH // HEADS


@dataclass(frozen=True)
class Published:
    """An architecture with the key of the paper that defines it and one line on what is stored."""

    architecture: Architecture
    citation: str
    stored: str


def _row(name: str, citation: str, stored: str, *terms: Term) -> Published:
    return Published(
        Architecture(name, terms, source=f"formula of {citation}", model_type="published"), citation, stored
    )


def strided(layers: int, width: int) -> tuple[Term, ...]:
    """Sparse Transformer, strided pattern: position j is read again at j + l, j + 2l, …, so no key may be dropped."""
    return (Term("attention", layers, 2 * width, TOKENS),)


def fixed(layers: int, width: int, stride: int, summary: int) -> tuple[Term, ...]:
    """Sparse Transformer, fixed pattern: the current block, and the last ``summary`` positions of every block of ``stride``.

    >>> sum(term.elements(256) for term in fixed(1, 1, stride=128, summary=8))  # 2 × (2 blocks × 8 + up to 127)
    286
    """
    return (
        Term("attention", layers, 2 * width * summary, Growth("chunks", stride)),
        Term("sliding window", layers, 2 * width, Growth("window", stride - 1)),
    )


def local_and_global(layers: int, width: int, window: int, global_tokens: int) -> tuple[Term, ...]:
    """A window and the first ``global_tokens`` positions (causal Longformer)."""
    return (
        Term("sliding window", layers, 2 * width, Growth("window", window - 1)),
        Term("memory", layers, 2 * width, Growth("window", global_tokens)),
    )


def big_bird(layers: int, width: int) -> tuple[Term, ...]:
    """BigBird read causally: any later query may draw any earlier block at random, so no key may be dropped."""
    return (Term("attention", layers, 2 * width, TOKENS),)


def transformer_xl(layers: int, width: int, memory: int) -> tuple[Term, ...]:
    """Transformer-XL: the inputs of every layer at the last ``memory`` positions."""
    return (Term("memory", layers, width, Growth("window", memory)),)


def compressive(layers: int, width: int, memory: int, compressed: int | None, rate: int) -> tuple[Term, ...]:
    """Compressive Transformer: a memory, and a compressed one of one vector for ``rate`` older ones (``None``: without end)."""
    return (
        Term("memory", layers, width, Growth("window", memory)),
        Term("memory", layers, width, Growth("chunks", rate, offset=memory, cap=compressed)),
    )


def matrix_state(layers: int, heads: int, key: int, value: int, extra: int = 0) -> tuple[Term, ...]:
    """Linear attention in all its forms (RetNet, GLA, DeltaNet, RWKV-6/7): a key × value matrix a head, and ``extra`` numbers a layer."""
    terms = (Term("linear attention", layers, heads * key * value, STATE),)
    return terms + ((Term("recurrent", layers, extra, STATE),) if extra else ())


def log_linear(layers: int, heads: int, key: int, value: int) -> tuple[Term, ...]:
    """Log-linear attention: one key × value matrix for each level of a Fenwick tree over the past."""
    return (Term("linear attention", layers, heads * key * value, Growth("levels")),)


def test_time_training(layers: int, heads: int, head: int, hidden: int | None = None) -> tuple[Term, ...]:
    """Test-time training: the weights and biases of the inner model of every head (linear, or an MLP with ``hidden`` units)."""
    inner = head * head + head if hidden is None else 2 * head * hidden + head + hidden
    return (Term("memory", layers, heads * inner, STATE),)


def mamba3(layers: int, heads: int, head: int, entries: int, rank: int = 1, rotated: float = 0.5) -> tuple[Term, ...]:
    """Mamba-3: the state of Mamba-2, and, because its rule looks one token back, the last key (``rank`` of them) and value; no convolution.

    The keys turn by an angle for every pair of the ``rotated`` share of the entries, and the angles add up over the text.
    """
    last = heads * (rank * entries + head + int(entries * rotated) // 2)
    return (Term("recurrent", layers, heads * head * entries, STATE), Term("recurrent", layers, last, STATE))


def memory_caching(layers: int, heads: int, key: int, value: int, segment: int) -> tuple[Term, ...]:
    """Memory caching: a linear recurrence, and a checkpoint of its matrices at the end of every segment.

    >>> sum(term.elements(1000) for term in memory_caching(1, 1, 2, 3, segment=256))  # 3 checkpoints and the running matrix
    24
    """
    return (
        Term("memory", layers, heads * key * value, Growth("chunks", segment)),
        Term("linear attention", layers, heads * key * value, STATE),
    )


def hierarchical_chunks(
    outer: int, width: int, entries: int, inner: int, inner_width: int, chunk: int
) -> tuple[Term, ...]:
    """H-Net of one stage: Mamba-2 layers over bytes, and full attention over chunks of ``chunk`` bytes on average; the text decides where they end.

    The router keeps the last vector and the smoothing of the chunks another one.
    """
    channels = 2 * width
    return (
        Term("attention", inner, 2 * inner_width, Growth("chunks", chunk)),
        Term("recurrent", outer, channels * entries, STATE),
        Term("convolution", outer, channels + 2 * entries, Growth("window", 3)),
        Term("memory", 1, 2 * width, STATE),
    )


def power_state(layers: int, width: int, exponent: float) -> tuple[Term, ...]:
    """An architecture that nobody has built: a state of ⌈L^β⌉ vectors a layer, exactly what the condition asks for."""
    return (Term("memory", layers, width, Growth("power", exponent)),)


def published() -> list[Published]:
    """The architectures of this module at comparable sizes.

    >>> {row.architecture.name: row.architecture.growth for row in published()}["Log-linear attention"]
    'log L'
    """
    n, d, h, k, beta = LAYERS, MODEL_WIDTH, HEADS, HEAD, paper.DIRECT.exponent
    return [
        _row("LSTM", "hochreiter1997", "hidden and cell vector a layer", Term("recurrent", n, 2 * d, STATE)),
        _row("GRU", "cho2014", "hidden vector a layer", Term("recurrent", n, d, STATE)),
        _row("Transformer-XL", "dai2019", "layer inputs of the last 1,024 tokens", *transformer_xl(n, d, 1024)),
        _row(
            "Compressive Transformer",
            "rae2020pg19",
            "512 layer inputs, 512 compressed ones",
            *compressive(n, d, 512, 512, 2),
        ),
        _row(
            "Compressive, uncapped",
            "rae2020pg19",
            "the same, compressed memory without end",
            *compressive(n, d, 512, None, 2),
        ),
        _row("Sparse Transformer, strided", "child2019", "all keys and values", *strided(n, d)),
        _row("Sparse Transformer, fixed", "child2019", "block of 128, 8 summaries a block", *fixed(n, d, 128, 8)),
        _row("Longformer, causal", "beltagy2020", "window 512, 64 global tokens", *local_and_global(n, d, 512, 64)),
        _row("BigBird, causal", "zaheer2020", "all keys and values", *big_bird(n, d)),
        _row(
            "RetNet", "sun2023retnet", "a matrix a head, values twice as wide", *matrix_state(n, h // 2, 2 * k, 4 * k)
        ),
        _row("GLA", "yang2023gla", "a matrix a head, keys half as wide", *matrix_state(n, h // 4, 2 * k, 4 * k)),
        _row("DeltaNet", "yang2024delta", "a matrix a head", *matrix_state(n, h // 2, 2 * k, 2 * k)),
        _row(
            "RWKV-7",
            "peng2025rwkv7",
            "a 64 × 64 matrix a head, two shifted inputs",
            *matrix_state(n, h, k, k, extra=2 * d),
        ),
        _row(
            "Log-linear attention",
            "guo2025loglinear",
            "a matrix a head and level",
            *log_linear(n, h // 2, 2 * k, 2 * k),
        ),
        _row(
            "Gated DeltaNet-2",
            "hatamizadeh2026gdn2",
            "16 matrices of 128 × 128 a layer, the sizes of its paper",
            *matrix_state(n, 16, 128, 128),
        ),
        _row(
            "Mamba-3",
            "lahoti2026mamba3",
            "a 64 × 128 matrix a head, the last key and value, angles",
            *mamba3(n, 2 * d // 64, 64, 128),
        ),
        _row(
            "Memory caching, linear",
            "behrouz2026caching",
            "a matrix a head, and a checkpoint of it every 256 tokens",
            *memory_caching(n, h // 2, 2 * k, 2 * k, 256),
        ),
        _row(
            "Generalized linear mixing, log L",
            "fagnou2026mixing",
            "past outputs, as many as log₂ L; the paper gives the order",
            Term("memory", n, d, Growth("levels")),
        ),
        _row(
            "Generalized linear mixing, √L",
            "fagnou2026mixing",
            "past outputs, as many as √L; the paper gives the order",
            *power_state(n, d, 0.5),
        ),
        _row(
            "Sparse Delta Memory",
            "sparsedelta2026",
            "8 billion numbers in all, addressed sparsely",
            Term("memory", 1, 8_000_000_000, STATE),
        ),
        _row(
            "H-Net, one stage",
            "hwang2025hnet",
            "keys and values a chunk (6 bytes on average, our assumption), 8 Mamba-2 layers over bytes",
            *hierarchical_chunks(8, 512, 128, 16, 1024, 6),
        ),
        _row("TTT-Linear", "sun2024ttt", "a linear map a head", *test_time_training(n, h, k)),
        _row("TTT-MLP", "sun2024ttt", "a two-layer network a head", *test_time_training(n, h, k, 4 * k)),
        _row(
            "Recurrent Memory Transformer",
            "bulatov2022",
            "128 memory tokens",
            Term("memory", 1, d, Growth("window", 128)),
        ),
        _row(
            f"A state of L^{beta:g}",
            "chen2025l2m",
            f"⌈L^{beta:g}⌉ vectors a layer (not built)",
            *power_state(n, d, beta),
        ),
    ]
