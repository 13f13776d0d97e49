"""One prepared command for a quarter of an hour on a GPU: stages by value, each with a cap of its own and an archive of small records."""
