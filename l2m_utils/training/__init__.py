"""One training loop, its optimizers, and the small ruler."""
