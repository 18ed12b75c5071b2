"""Training the base classifier under noise: objectives, and one loop that serves them all."""
