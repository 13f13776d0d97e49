"""The server scorer against a server in another process, with a model of transformers behind it.

Run as a program, this file serves the causal model in the folder named on its standard input, under the completions
contract, on a free port of this machine, which it prints.
"""

from __future__ import annotations

import os
import subprocess
import sys
import threading

import numpy as np
from test_server import VOCABULARY, Server, completion, some_sequences

from l2m_utils.project import PROJECT
from l2m_utils.scoring.server import ServerScorer


def serve_model() -> None:
    """The completions contract with a causal model of transformers, from full logits."""
    import torch
    from transformers import AutoModelForCausalLM

    folder = sys.stdin.readline().strip()
    torch.set_num_threads(1)
    model = AutoModelForCausalLM.from_pretrained(folder).eval()
    lock = threading.Lock()

    def answer(body):
        with lock, torch.no_grad():
            rows = model(input_ids=torch.tensor([body["prompt"]])).logits[0].float().log_softmax(-1).numpy()
        return 200, {}, completion(body["prompt"], rows)

    server = Server(answer)
    print(server.url, flush=True)
    server.serve_forever()


def test_server_process_agrees_with_the_model(tmp_path):
    environment = {**os.environ, "PYTHONPATH": str(PROJECT), "OMP_NUM_THREADS": "1"}
    process = subprocess.Popen(
        [sys.executable, __file__], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, env=environment
    )
    try:
        import torch
        from transformers import AutoModelForCausalLM, GPT2Config

        from l2m_utils.scoring.store import score_all
        from l2m_utils.scoring.transformers import TransformersScorer

        with torch.random.fork_rng():
            torch.manual_seed(0)
            config = GPT2Config(
                vocab_size=VOCABULARY,
                n_embd=16,
                n_layer=1,
                n_head=2,
                n_positions=64,
                initializer_range=0.5,
                bos_token_id=1,
                eos_token_id=2,
            )
            model = AutoModelForCausalLM.from_config(config).eval()
        model.save_pretrained(tmp_path / "model")
        print(tmp_path / "model", file=process.stdin, flush=True)
        scorer = ServerScorer(
            process.stdout.readline().strip(), "tiny", prefix_id=1, vocabulary=VOCABULARY, max_length=64
        )
        sequences = some_sequences(12)
        expected = TransformersScorer(model).score(sequences)
        for found in (scorer.score(sequences), score_all(scorer, sequences, tmp_path / "scores")):
            for row, known in zip(found, expected, strict=True):
                np.testing.assert_allclose(row, known, rtol=0, atol=1e-5)
    finally:
        process.kill()
        process.communicate()


if __name__ == "__main__":
    serve_model()
