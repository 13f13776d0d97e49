"""Laws, states and samples of a tiny random Llama against the plain full outputs of transformers."""

import numpy as np
import pytest
import torch
from test_transformers import SMALL
from transformers import LlamaConfig, LlamaForCausalLM

from l2m_utils.scoring.base import ScoringError
from l2m_utils.scoring.next_laws import LawReader, answer_ids

PREFIX, ENDS = 1, (0, 2)


@pytest.fixture(scope="module")
def reader():
    with torch.random.fork_rng():
        torch.manual_seed(0)
        model = LlamaForCausalLM(LlamaConfig(**SMALL, initializer_range=0.3))
    return LawReader(model, PREFIX, batch_tokens=20, chunk=3)


def plain(reader, ids):
    """Log-laws (1 + T, V) and hidden states of every layer, one sequence alone, without anything of ours."""
    with torch.no_grad():
        out = reader.model(input_ids=torch.tensor([[PREFIX, *ids]]), output_hidden_states=True)
    return out.logits[0].log_softmax(-1).numpy(), [states[0].numpy() for states in out.hidden_states]


SEQUENCES = [np.random.default_rng(length).integers(97, size=length) for length in (5, 9, 1, 7, 9)]


def test_laws_and_hidden_states(reader):
    laws, hidden = reader.laws(SEQUENCES), reader.hidden(SEQUENCES, (0, 2))
    for ids, law, states in zip(SEQUENCES, laws, hidden):
        full, layers = plain(reader, ids)
        np.testing.assert_allclose(law, full[-1], atol=1e-5)
        np.testing.assert_allclose(states, [layers[0][-1], layers[2][-1]], atol=1e-5)
    behind = reader.hidden(SEQUENCES, (1,), prompt=[3, 4])
    for ids, states, law in zip(SEQUENCES, behind, reader.laws(SEQUENCES, [3, 4])):
        np.testing.assert_allclose(law, plain(reader, [3, 4, *ids])[0][-1], atol=1e-5)
        np.testing.assert_allclose(states[0], plain(reader, [3, 4, *ids])[1][1][-1], atol=1e-5)


def test_laws_at_positions_of_one_text(reader):
    ids = SEQUENCES[1]
    np.testing.assert_allclose(reader.laws_at(ids, [0, 3, 9]), plain(reader, ids)[0][[0, 3, 9]], atol=1e-5)
    for at in ([10], [-1]):
        with pytest.raises(ScoringError, match="expected 0 to 9"):
            reader.laws_at(ids, at)


def test_continuations_of_one_prompt(reader):
    prompt, scores = SEQUENCES[1], reader.after(SEQUENCES[1], SEQUENCES)
    for ids, row in zip(SEQUENCES, scores):
        full = plain(reader, [*prompt, *ids])[0]
        np.testing.assert_allclose(row, full[len(prompt) : -1][np.arange(len(ids)), ids], atol=1e-5)


def test_statistics_along_texts(reader):
    texts = np.random.default_rng(1).integers(97, size=(4, 11))
    along = reader.along(texts, ENDS, skip=2)
    for row, ids in enumerate(texts):
        full = plain(reader, ids)[0][2:-1]
        np.testing.assert_allclose(along.logprobs[row], full[np.arange(9), ids[2:]], atol=1e-5)
        np.testing.assert_allclose(along.entropies[row], -(np.exp(full) * full).sum(axis=1), atol=1e-5)
        np.testing.assert_allclose(along.endings[row], np.exp(full[:, ENDS]).sum(axis=1), atol=1e-5)


def test_samples_say_of_themselves_what_a_second_reading_says(reader):
    prompts = np.random.default_rng(2).integers(97, size=(6, 3))
    ids, said = reader.sample(prompts, 8, 0.7, ENDS, np.random.default_rng(0))
    read = reader.along(np.hstack([prompts, ids]), ENDS, skip=3)
    for name in ("logprobs", "entropies", "endings"):
        np.testing.assert_allclose(getattr(said, name), getattr(read, name), atol=2e-5)
    assert np.array_equal(ids, reader.sample(prompts, 8, 0.7, ENDS, np.random.default_rng(0))[0])


@pytest.mark.parametrize("temperature", [1.0, 0.5])
def test_samples_follow_the_law(reader, temperature):
    ids, _ = reader.sample(np.tile(SEQUENCES[0], (4000, 1)), 1, temperature, ENDS, np.random.default_rng(1))
    law = np.exp(reader.laws(SEQUENCES[:1])[0].astype(float) / temperature)
    law /= law.sum()
    assert np.abs(np.bincount(ids[:, 0], minlength=97) / 4000 - law).max() < 4 * np.sqrt(law.max() / 4000)


def test_the_surprise_of_own_samples_is_their_entropy_and_cold_ones_surprise_less(reader):
    prompts = np.tile(SEQUENCES[0], (300, 1))
    for temperature, low, high in ((1.0, -3, 3), (0.5, -np.inf, -5)):
        along = reader.sample(prompts, 6, temperature, ENDS, np.random.default_rng(3))[1]
        excess = (-along.logprobs - along.entropies).mean(axis=1)
        assert low < excess.mean() / (excess.std() / np.sqrt(300)) < high


def test_tokens_that_last(reader):
    prompt, ids = SEQUENCES[0], np.array([[4, 5, 6, 7], [4, 5, 5, 7]])
    law = reader.lasting_laws(prompt, ids, np.ones((2, 4)))
    np.testing.assert_allclose(law, [plain(reader, [*prompt, *row])[0][-1] for row in ids], atol=1e-5)
    short = np.array([[1, 0.5, 0.5, 1.0], [1, 1, 0.25, 1]])
    moved = reader.lasting_laws(prompt, ids, short)
    np.testing.assert_allclose(reader.lasting_laws(prompt, ids, short, shift=7.5), moved, atol=2e-4)
    assert np.abs(moved - law).max() > 1e-2
    # A token that lasts hardly any time is not there.
    gone = reader.lasting_laws(prompt, ids[1:], np.array([[1, 1, 1e-7, 1]]))
    np.testing.assert_allclose(gone[0], plain(reader, [*prompt, 4, 5, 7])[0][-1], atol=1e-4)


def test_bad_input(reader):
    with pytest.raises(ScoringError, match="above 0"):
        reader.lasting_laws([3], np.array([[4]]), np.array([[0.0]]))
    with pytest.raises(ScoringError, match="temperature"):
        reader.sample([[3]], 4, 0.0, ENDS, np.random.default_rng(0))
    with pytest.raises(ScoringError, match="one length"):
        reader.along([[3], [3, 4]], ENDS)
    with pytest.raises(ScoringError, match="97"):
        reader.laws([[3, 97]])


class Words:
    """A tokenizer of the words of a sentence, for what is asked of answers."""

    bos_token_id = eos_token_id = -1

    def __call__(self, text, **_):
        return {"input_ids": [hash(word) % 1000 if word != "twin" else hash("one") % 1000 for word in text.split()]}


def test_answers_are_single_different_tokens():
    assert len(answer_ids(Words(), ["one", "three"])) == 2
    for answers, message in ((["one", "two words"], "2 tokens"), ([], "no answers"), (["one", "twin"], "different")):
        with pytest.raises(ScoringError, match=message):
            answer_ids(Words(), answers)
