"""What a measurement will take before anything is loaded: memory by part, time and money, from the configuration of the model.

Time is arithmetic and traffic at the speeds that the maker of a card prints, times :data:`ARITHMETIC` and :data:`TRAFFIC`, the shares
of them that programs like these reach.  ``tests/experiments/test_forecast.py`` holds the forecast to within a factor :data:`WITHIN` of the runs that
were measured; the command itself measures its first shard and corrects the rest of the time by it.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Any

import pandas as pd
import torch

from l2m_utils.estimators.cost import duration
from l2m_utils.estimators.evaluations import Plan
from l2m_utils.experiments.cards import BYTES, CARDS, GIB, Card
from l2m_utils.state.kinds import Architecture
from l2m_utils.state.transformers_configs import architecture_of

ARITHMETIC, TRAFFIC = 0.5, 0.6
WITHIN = 2.0  # the forecast of time and memory, against what was measured
_SPARE = 0.9  # of the memory of a card; the rest goes to CUDA, NCCL and fragments
_ROUTED = re.compile(r"\.experts\.")
_CACHED = ("attention", "latent attention", "sliding window")


@dataclass(frozen=True)
class Weights:
    """Weights of a model: all of them, those that multiply a token (of the experts the chosen ones), the head's, and those that stay in 16 bits when the rest is quantised."""

    total: int
    active: int
    head: int
    unquantised: int


def weigh(config: Any) -> Weights:
    """Count the weights of a ``transformers`` configuration; the model is laid out without memory.

    >>> from transformers import GPT2Config
    >>> found = weigh(GPT2Config())
    >>> found.total, found.active == found.total - 1024 * 768
    (124439808, True)
    """
    from transformers import AutoModelForCausalLM
    from transformers.initialization import no_init_weights

    with torch.device("meta"), no_init_weights():
        model = AutoModelForCausalLM.from_config(config)
        model.tie_weights()
    named = dict(model.named_parameters())
    head = model.get_output_embeddings().weight
    looked_up = {id(part.weight) for part in model.modules() if isinstance(part, torch.nn.Embedding)}
    routed = sum(value.numel() for name, value in named.items() if _ROUTED.search(name))
    text = config.get_text_config()
    chosen = 1.0
    if routed:
        experts = next(
            filter(
                None, (getattr(text, name, None) for name in ("n_routed_experts", "num_experts", "num_local_experts"))
            )
        )
        chosen = text.num_experts_per_tok / experts
    total = sum(value.numel() for value in named.values())
    apart = sum(value.numel() for value in named.values() if id(value) in looked_up)
    own = head.numel() if id(head) in looked_up else 0  # tied: looked up, and multiplied as well
    small = sum(value.numel() for value in named.values() if value.ndim < 2)
    untied = 0 if id(head) in looked_up else head.numel()
    return Weights(total, round(total - apart + own - (1 - chosen) * routed), head.numel(), apart + untied + small)


@dataclass(frozen=True)
class Engine:
    """How a model is run: ``cards`` of one kind, of which ``tensor`` share each layer and ``pipeline`` groups the layers; ``batch`` tokens at once.

    ``dtype`` is that of weights and arithmetic, ``head`` that of the last layer; ``chunk`` the largest array of logits, (tokens, vocabulary),
    of which two exist at a time; ``caches`` says whether keys and values of all layers are kept while a batch is read.
    """

    card: Card
    dtype: str
    batch: int
    chunk: tuple[int, int]
    head: str = "float32"
    caches: bool = False
    tensor: int = 1
    pipeline: int = 1

    @property
    def cards(self) -> int:
        """All of them.

        >>> from l2m_utils.experiments.cards import CARDS
        >>> Engine(CARDS["h100"], "fp8", 4096, (4096, 128256), tensor=8, pipeline=2).cards
        16
        """
        return self.tensor * self.pipeline


@dataclass(frozen=True)
class Forecast:
    """Bytes a card by part, seconds a token, and the tokens of the plan on ``engine``."""

    engine: Engine
    parts: dict[str, float]
    per_token: dict[str, float]
    tokens: int

    @property
    def memory(self) -> float:
        """Bytes on the fullest card."""
        return sum(self.parts.values())

    @property
    def fits(self) -> bool:
        """Whether that is at most nine tenths of the card."""
        return self.memory <= _SPARE * self.engine.card.memory

    @property
    def seconds(self) -> float:
        """Of all cards at once, for the whole plan."""
        return self.tokens * sum(self.per_token.values())

    @property
    def card_hours(self) -> float:
        """Hours, times the cards."""
        return self.seconds * self.engine.cards / 3600

    def table(self) -> pd.DataFrame:
        """Memory by part on one card: ``part`` and ``GiB``."""
        rows = [*self.parts.items(), ("all", self.memory)]
        return pd.DataFrame([(part, size / GIB) for part, size in rows], columns=["part", "GiB"])

    def text(self, price_per_hour: float = 0.0) -> str:
        """The forecast in words; ``price_per_hour`` is that of one card, in any currency."""
        engine = self.engine
        card = f"{engine.cards} × {engine.card.name}" if engine.cards > 1 else engine.card.name
        verdict = (
            "fits"
            if self.fits
            else f"does NOT fit: at most {_SPARE:.0%} of {engine.card.memory / GIB:.1f} GiB can be used"
        )
        checked = f"time and memory to within a factor of {WITHIN:g}"
        if engine.cards > 1:
            checked += ", as measured on one card; on several no run was"
        lines = [
            f"memory a card, {engine.dtype}: "
            + ", ".join(f"{part} {size / GIB:.2f}" for part, size in self.parts.items())
            + f"; {self.memory / GIB:.1f} GiB in all, {verdict}",
            f"{self.tokens:,} tokens on {card}: about {duration(self.seconds)} ({1 / sum(self.per_token.values()):,.0f} tokens/s), "
            f"{self.card_hours:.2f} GPU hours; {checked}",
        ]
        if price_per_hour:
            cost = self.card_hours * price_per_hour
            lines.append(
                f"cost at {price_per_hour:g} a GPU hour: about {cost:,.2f} (between {cost / WITHIN:,.2f} and {cost * WITHIN:,.2f})"
            )
        return "\n".join(lines)


def _attended(architecture: Architecture, length: int, width: int) -> float:
    """Multiply-adds a token in attention, of blocks of ``length``: every token sees half of them on average, or its window."""
    layers = [
        (term.layers, term.growth.count(max(1, length // 2))) for term in architecture.terms if term.kind in _CACHED
    ]
    return sum(2.0 * count * seen * width for count, seen in layers)


def forecast(config: Any, engine: Engine, wanted: Plan, blocks: int) -> Forecast:
    """What ``blocks`` blocks of the plan take on ``engine``; ``config`` is that of ``transformers``.

    Raises :class:`~l2m_utils.state.kinds.StateError` for a model whose state cannot be counted.
    """
    text, found = config.get_text_config(), weigh(config)
    architecture = architecture_of(config)
    size, share = BYTES[engine.dtype], engine.cards
    working = max(size, 2)  # activations, keys and values are in 16 bits at least
    weights = (found.total - found.unquantised) * size + found.unquantised * working
    inner = (
        getattr(text, "moe_intermediate_size", 0) * getattr(text, "num_experts_per_tok", 0)
        or getattr(text, "intermediate_size", 0)
        or 4 * text.hidden_size
    )
    sequences = max(1, engine.batch // wanted.max_length)
    rows, columns = min(engine.chunk[0], engine.batch), engine.chunk[1]
    parts = {
        "weights": weights / share,
        "KV or state": sequences
        * architecture.at(wanted.max_length).elements
        * working
        / (share if engine.caches else text.num_hidden_layers),
        "logits chunk": 2.0 * rows * columns * 4,
        "activations": engine.batch * (6 * text.hidden_size + 3 * inner / engine.tensor) * working,
    }
    card, layers = engine.card, text.num_hidden_layers
    heads = getattr(text, "num_attention_heads", 1)
    width = heads * (getattr(text, "v_head_dim", None) or getattr(text, "head_dim", None) or text.hidden_size // heads)
    arithmetic = (2 * (found.active - found.head)) / card.rate(engine.dtype)
    arithmetic += (
        2
        * _attended(architecture, wanted.max_length, width)
        / card.rate("float32" if engine.dtype == "float32" else "bfloat16")
    )
    # Norms, rotations and gates read and write the activations some thirty times a layer; logits are read and written six times.
    # All weights are read once for each batch.
    traffic = layers * (30 * text.hidden_size + 8 * inner) * working + 6 * 4 * text.vocab_size + weights / engine.batch
    sent = 2 * layers * 2 * (engine.tensor - 1) / engine.tensor * text.hidden_size * working
    per_token = {
        "layers": arithmetic / ARITHMETIC / share,
        "head": 2 * found.head / card.rate(engine.head) / ARITHMETIC / share,
        "memory traffic": traffic / card.bandwidth / TRAFFIC / share,
        "between cards": sent / card.link / engine.pipeline,
    }
    return Forecast(engine, parts, per_token, blocks * wanted.evaluations)


def engine_of(
    config: Any,
    backend: str,
    card: Card,
    *,
    dtype: str = "auto",
    quantization: str = "",
    tensor: int = 1,
    pipeline: int = 1,
) -> Engine:
    """The engine that ``l2m measure`` would start: batch and logits chunk of ours, or those of vLLM.

    Raises ``ValueError`` for a number format or quantisation whose size is not known here.

    >>> from transformers import LlamaConfig
    >>> from l2m_utils.experiments.cards import CARDS
    >>> engine_of(LlamaConfig(quantization_config={"quant_method": "fp8"}), "vllm", CARDS["h100"], tensor=8).dtype
    'fp8'
    """
    stored = getattr(config, "quantization_config", None) or {}
    method = quantization or (
        stored.get("quant_method", "") if isinstance(stored, dict) else getattr(stored, "quant_method", "")
    )
    if "fp8" in str(method):
        dtype = "fp8"
    elif method:
        raise ValueError(
            f"weights quantised as {str(method)!r}: a forecast knows fp8 and what is not quantised. Leave --card out"
        )
    elif dtype == "auto":
        dtype = str(getattr(config, "dtype", None) or "float32").removeprefix("torch.")
    if dtype not in BYTES:
        raise ValueError(f"dtype {dtype!r}: a forecast knows {', '.join(BYTES)}")
    if backend == "vllm":
        from l2m_utils.scoring.vllm import STEP_TOKENS

        return Engine(
            card,
            dtype,
            STEP_TOKENS,
            (STEP_TOKENS, config.get_text_config().vocab_size),
            "bfloat16",
            True,
            tensor,
            pipeline,
        )
    from l2m_utils.scoring.chunked import CHUNK
    from l2m_utils.scoring.transformers import BATCH_TOKENS

    return Engine(card, dtype, BATCH_TOKENS, CHUNK)


def will_share(options: Any) -> bool:
    """Whether ``l2m measure`` with these options will read the X′ of vCLUB only once, by the configuration of the model; no weights are loaded.

    Raises ``ScoringError`` for what the run would refuse.
    """
    from l2m_utils.scoring.shared_prefix import cuttable_by

    return options.backend == "transformers" and cuttable_by(_configuration(options))


def check_length_read(options: Any, max_length: int) -> None:
    """Refuse blocks that are longer than the model reads, by its configuration, and whatever else :func:`~l2m_utils.scoring.connect.check_backend` refuses.

    Raises ``ScoringError``.  Not asked here: a server, whose configuration is elsewhere, and vLLM where it stretches positions by rules of its own.
    """
    from l2m_utils.scoring.connect import check_context

    if options.backend == "server":
        return
    text = _configuration(options).get_text_config()
    positions = getattr(text, "max_position_embeddings", None)
    vllm = options.backend == "vllm"
    if positions and not (vllm and "factor" in str(getattr(text, "rope_parameters", ""))):
        check_context(options.model, positions - 2 * vllm, max_length)  # vLLM: the prefix, and the token it generates


def _configuration(options: Any) -> Any:
    """That of the model that the options of ``l2m measure`` name."""
    from transformers import AutoConfig

    from l2m_utils.boundary import boundary
    from l2m_utils.scoring.base import ScoringError, pinned
    from l2m_utils.scoring.connect import check_backend
    from l2m_utils.scoring.packaged import is_ruler, ruler

    model, revision = options.model, options.revision
    if is_ruler(model):
        model, revision = str(ruler(model).folder), ""
    parallel = max(options.tensor_parallel, options.pipeline_parallel)
    check_backend(options.backend, model, options.url, options.device_map, parallel)  # what the run would refuse
    with boundary(f"no configuration in {model!r}", ScoringError):
        return AutoConfig.from_pretrained(model, trust_remote_code=False, **pinned(model, revision))


def forecast_of(options: Any, wanted: Plan, blocks: int) -> str:
    """The forecast for the options of ``l2m measure``, in words."""
    if options.backend == "server":
        return "what a server takes, only a server knows: its first shard is timed"
    if not options.card:
        return f"memory, time and money: name the processor, --card {'|'.join(CARDS)}"
    config = _configuration(options)
    engine = engine_of(
        config,
        options.backend,
        CARDS[options.card],
        dtype=options.dtype,
        quantization=options.quantization,
        tensor=options.tensor_parallel,
        pipeline=options.pipeline_parallel,
    )
    return forecast(config, engine, wanted, blocks).text(options.price_per_hour)
