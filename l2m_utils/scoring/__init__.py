"""Scoring: token ids in, log-probabilities out, the same way for every model (:mod:`l2m_utils.scoring.base`)."""
