"""The networks: published configurations, continuous and language models, the exact Gaussian loss."""
