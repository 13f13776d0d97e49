"""The history state of language models and the L²M condition.

Prints the atlas, and how many architectures were verified against real caches; or the verdict on one model.
"""

from __future__ import annotations

import argparse
import os
import sys

from l2m_utils.state.condition import PUBLISHED_LAW


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The model, if only one, and the law that text is held to obey."""
    parser.add_argument(
        "config",
        nargs="?",
        help="a folder with config.json, a hub name, packaged:smollm2-135m or FILE.gguf: print this model alone",
    )
    parser.add_argument(
        "--beta", type=float, default=PUBLISHED_LAW.exponent, help="exponent of the law of text (default %(default)s)"
    )
    parser.add_argument(
        "--prefactor", type=float, default=PUBLISHED_LAW.prefactor, help="its prefactor in nats (default %(default)s)"
    )
    parser.add_argument("--bits", type=float, default=16, help="bits that one number can hold (default %(default)s)")
    parser.add_argument("--no-verify", action="store_true", help="do not run the tiny models (half a minute)")


def run(options: argparse.Namespace) -> int:
    """Print the table; 1 if a count differs from a real cache, 2 if a config cannot be counted."""
    os.environ.setdefault("TRANSFORMERS_VERBOSITY", "error")  # the tiny models would each report missing GPU kernels
    from l2m_utils.scoring.base import ScoringError
    from l2m_utils.scoring.packaged import is_ruler, ruler
    from l2m_utils.state.atlas import atlas, kinds_counted, named_models, plain_text, short
    from l2m_utils.state.condition import TextLaw, l2m_condition
    from l2m_utils.state.kinds import StateError

    try:
        law = TextLaw(options.beta, options.prefactor, "command line")
        if options.config:
            config = ruler(options.config).folder if is_ruler(options.config) else options.config
            verdict = l2m_condition(config, law=law, bits_per_entry=options.bits)
            print(f"dim z = {verdict.architecture.formula}\n{verdict.text}")
            for length, gib in verdict.memory_gib.items():
                print(
                    f"{length:>12,} tokens: {short(verdict.architecture.at(length).elements):>7} numbers, {gib:.3g} GiB at 16 bits"
                )
            return 0
        print(plain_text(atlas(law, options.bits)))
    except (StateError, ScoringError) as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    print(
        f"\nlaw of text {law.prefactor:g} · L^{law.exponent:g} nats, {options.bits:g} bits a number; L* is where the cap of theorem 5.2 falls below it"
    )
    print(f"{named_models()} named models; {kinds_counted()} architectures counted")
    if options.no_verify:
        return 0
    from l2m_utils.state.verify import verify_all

    found = verify_all()
    wrong = [one.model_type for one in found if not one.exact]
    print(
        f"{len(found) - len(wrong)} of {len(found)} transformers architectures verified against real caches"
        + (f"; WRONG: {', '.join(wrong)}" if wrong else "")
    )
    return 1 if wrong else 0
