"""From the name of a model to a scorer: one function for the three ways in which a language model can run.

=================  ==============================================================================================
``transformers``   weights loaded in this process: a CPU, one GPU, or several GPUs of one machine by ``device_map``
``vllm``           an engine of vLLM in this process: several GPUs (tensor parallel), several machines (pipeline parallel)
``server``         an OpenAI-compatible completions server, wherever it runs
=================  ==============================================================================================

The tokenizer comes from the same place as the model.  An API key is read from the environment variable ``L2M_API_KEY``
and from nowhere else, so that no notebook and no record ever holds one.
"""

from __future__ import annotations

import os
from pathlib import Path

from l2m_utils.boundary import boundary
from l2m_utils.scoring.base import Scorer, ScoringError, check_tokenizer, choose_prefix, pinned
from l2m_utils.scoring.folder import check_files, check_weights
from l2m_utils.scoring.loading import load_tokenizer
from l2m_utils.scoring.packaged import is_ruler, ruler

BACKENDS = ("transformers", "vllm", "server")
API_KEY = (
    "L2M_API_KEY"  # a name of our own: the key of another service is never sent to an address it was not meant for
)


def connect(
    backend: str,
    model: str,
    *,
    revision: str = "",
    url: str = "",
    tokenizer: str = "",
    dtype: str = "auto",
    device_map: str = "",
    tensor_parallel: int = 1,
    pipeline_parallel: int = 1,
    max_length: int = 0,
    prefix_id: int | None = None,
    **options,
) -> Scorer:
    """A scorer for ``model`` on ``backend``, one of ``transformers``, ``vllm``, ``server``.

    Parameters
    ----------
    model : a local folder in the Hugging Face layout, a hub id, ``packaged:smollm2-135m`` or ``FILE.gguf`` (:mod:`.packaged`); for a
        server the name under which it knows the model.
    revision : the commit of a hub id; for a server any label that changes when the model behind it does.
    url : of a server, up to and with ``/v1``.
    tokenizer : folder or hub id (of the same ``revision``) of the tokenizer, if it does not lie with the model.
    dtype : ``"auto"`` (as stored), ``"bfloat16"``, ``"float32"``, …; for a server what it runs, for the records.
    device_map : for transformers; by default the GPUs if there are any (``"auto"``), else the CPU.
    tensor_parallel, pipeline_parallel : for vLLM, GPUs in a machine, and machines (over Ray).
    max_length : tokens of the longest block that will be scored; vLLM and servers must know it, for transformers it is checked.
    prefix_id : the token before every sequence; by default the tokenizer's BOS, else its EOS.
    options : further arguments of the scorer's class, such as ``batch_tokens``, ``quantization`` or ``concurrency``.

    Raises :class:`ScoringError` for an unknown backend, a missing model, URL or length, an option of another backend, a
    context that is too short; ``ImportError`` with the install line when vLLM is missing.

    >>> connect("torch", "my-model")
    Traceback (most recent call last):
        ...
    l2m_utils.scoring.base.ScoringError: backend 'torch': expected one of transformers, vllm, server
    """
    check_backend(backend, model, url, device_map, max(tensor_parallel, pipeline_parallel))
    given, label = model, ""
    if backend != "server" and is_ruler(model):
        made = ruler(model)
        model, label, revision = str(made.folder), made.name, made.revision
        prefix_id = made.prefix_id if prefix_id is None and not tokenizer else prefix_id
    if backend == "transformers":
        import torch

        from l2m_utils.scoring.transformers import TransformersScorer

        if prefix_id is None and tokenizer:
            prefix_id = choose_prefix(read_tokenizer(tokenizer, revision))
        placed = device_map or ("auto" if torch.cuda.is_available() else None)
        scorer: Scorer = TransformersScorer.from_pretrained(
            model, revision=revision, dtype=dtype, device_map=placed, prefix_id=prefix_id, **options
        )
        scorer.identity["model"] = label or scorer.identity["model"]
    else:
        if max_length < 1:
            raise ScoringError(
                f"max_length is {max_length}: {backend} must know how long the longest block is, e.g. max_length=2048"
            )
        if backend == "server" and not revision:
            raise ScoringError(
                "revision is empty: a server cannot be asked which weights it runs, and stored scores are found again by it; "
                "give the commit of the model, or a label that you change when the model changes"
            )
        source = tokenizer or model
        words = read_tokenizer(source, revision)
        known = {
            "prefix_id": choose_prefix(words) if prefix_id is None else prefix_id,
            "vocabulary": _vocabulary(source, revision, words),
            "revision": revision,
        }
        if not 0 <= known["prefix_id"] < known["vocabulary"]:
            raise ScoringError(
                f"prefix id {known['prefix_id']} is outside the vocabulary of {known['vocabulary']}: pass the id of BOS or EOS"
            )
        if backend == "vllm":
            if Path(model).is_dir():
                check_files(model)
                check_weights(model)
            from l2m_utils.scoring.vllm import VllmScorer

            scorer = VllmScorer(
                model,
                **known,
                dtype=dtype,
                max_model_len=max_length + 2,  # the prefix, and the token that vLLM must generate
                tensor_parallel_size=tensor_parallel,
                pipeline_parallel_size=pipeline_parallel,
                ray=pipeline_parallel > 1,
                **options,
            )
        else:
            from l2m_utils.scoring.request import ApiKey
            from l2m_utils.scoring.server import ServerScorer

            scorer = ServerScorer(
                url,
                model,
                **known,
                dtype="" if dtype == "auto" else dtype,
                max_length=max_length + 2,
                api_key=ApiKey(os.environ.get(API_KEY, "")),
                **options,
            )
    check_context(given, scorer.context, max_length)
    return scorer


def check_context(model: str, context: int, max_length: int) -> None:
    """Refuse blocks of ``max_length`` tokens where ``model`` reads only ``context`` of them."""
    if max_length > context:
        raise ScoringError(
            f"blocks of {max_length} tokens are asked for, {model} reads {context} after the prefix: take a smaller max_length"
        )


def check_backend(backend: str, model: str, url: str, device_map: str, parallel: int) -> None:
    """Refuse what cannot be meant, before anything is loaded."""
    if backend not in BACKENDS:
        raise ScoringError(f"backend {backend!r}: expected one of {', '.join(BACKENDS)}")
    if backend == "server":
        if not url:
            raise ScoringError(
                "url is empty: give the address of the server, up to and with /v1, e.g. url='http://localhost:8000/v1'"
            )
        if not model:
            raise ScoringError("model is empty: give the name under which the server knows the model")
    elif url:
        raise ScoringError(
            f"a url is given, but backend {backend!r} connects to no server: use backend='server', or leave url empty"
        )
    else:
        _check_folder(model)
    if device_map and backend != "transformers":
        raise ScoringError(
            f"device_map is {device_map!r}: only backend 'transformers' takes it; vllm takes tensor_parallel"
        )
    if parallel > 1 and backend != "vllm":
        raise ScoringError(
            f"tensor_parallel or pipeline_parallel is {parallel}: only backend 'vllm' takes them; transformers takes device_map='auto'"
        )


def _check_folder(model: str) -> None:
    """Refuse an empty name and a folder that holds no model."""
    if model and Path(model).is_dir() and not (Path(model) / "config.json").exists():
        raise ScoringError(
            f"{model} holds no config.json: expected a model in the Hugging Face layout, as save_pretrained writes it"
        )
    if not model:
        pinned(model, "")


def read_tokenizer(model: str, revision: str = ""):
    """The fast tokenizer (of transformers) in a local folder, of a hub id at a commit, or of a :mod:`.packaged` ruler; code from the hub never runs.

    ``.backend_tokenizer`` is what :func:`l2m_utils.text.tokens.encode_corpus` takes.  Raises :class:`ScoringError` when there is none, or
    only one without a fast form.
    """
    if is_ruler(model):
        model, revision = str(ruler(model).folder), ""
    tokenizer = load_tokenizer(model, pinned(model, revision))
    if getattr(tokenizer, "backend_tokenizer", None) is None:
        raise ScoringError(
            f"the tokenizer of {model!r}, {type(tokenizer).__name__}, has no fast form: expected one that saves a tokenizer.json"
        )
    return tokenizer


def _vocabulary(model: str, revision: str, tokenizer) -> int:
    """Token ids of the model by its configuration, or of the tokenizer if it lies alone."""
    from transformers import AutoConfig

    try:
        with boundary(f"no configuration in {model!r}", ScoringError):
            found = AutoConfig.from_pretrained(model, trust_remote_code=False, **pinned(model, revision))
            size = found.get_text_config().vocab_size
    except ScoringError:  # no configuration beside the tokenizer
        return max(tokenizer.get_vocab().values()) + 1
    if not isinstance(size, int) or size < 1:
        raise ScoringError(f"the configuration in {model!r} has vocab_size {size!r}: expected a positive number")
    check_tokenizer(tokenizer, size)
    return size
