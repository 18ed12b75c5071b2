"""A torch module as a classifier: ours by name, how one is run, frozen and identified."""
