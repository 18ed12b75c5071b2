"""Jobs carried out by this machine alone."""
