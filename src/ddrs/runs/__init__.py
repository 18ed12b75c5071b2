"""A run on disk: the one writer and the one reader of its files, and published logs."""
