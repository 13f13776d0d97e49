"""From the name of a text to token ids: documents, corpora, files, data sets, cuts, sentences and tokenizers."""
