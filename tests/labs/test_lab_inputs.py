"""The bad inputs that a lab may be given, each refused in one line that says what to do."""

import numpy as np
import pandas as pd
import pytest
from tiny_model import tiny_reader

from l2m_utils.labs import knowledge_model, places_model, timescales
from l2m_utils.scoring.base import ScoringError
from l2m_utils.scoring.next_laws import answer_ids
from l2m_utils.sources.hidden import HiddenMarkov

TOKENIZER = tiny_reader(words=(" Paris", " Rome"))[1]
NOWHERE = pd.DataFrame({"name": ["Here", "Nowhere"], "latitude": [1.0, np.nan], "longitude": [2.0, 3.0]})
PARTED = [[0.5, 0.5, 0.0], [0.5, 0.5, 0.0], [0.0, 0.0, 1.0]]


@pytest.mark.parametrize(
    "call, message",
    [
        (lambda: answer_ids(TOKENIZER, [" Paris", " Oslo"]), "tokens of this model: expected one"),
        (lambda: answer_ids(TOKENIZER, []), "no answers: expected at least one"),
        (lambda: knowledge_model.check_entities({"France": "Paris"}, ["Paris"]), "its own answer; leave it out"),
        (lambda: places_model.check_places(NOWHERE), "Nowhere and 0 more have no coordinates: expected two finite"),
        (lambda: timescales.timescale_to_bias(np.array([3.0, 0.0])), "timescale of 0: expected times above 0"),
        (lambda: timescales.pair_law(0.5, 0.3, 10), "mean offspring 1.1; expected .*unstable grammar"),
        (lambda: HiddenMarkov(PARTED, np.eye(3)), "reducible, so its stationary law is not unique; pass `initial`"),
    ],
    ids=["two tokens", "no answers", "own answer", "no coordinates", "timescale zero", "unstable", "not ergodic"],
)
def test_refused_in_one_line(call, message):
    with pytest.raises((ValueError, ScoringError), match=message) as caught:
        call()
    assert "\n" not in str(caught.value)
