"""Arrays of log-probabilities or tokens in, estimates of mutual information out."""
