"""How sigma is chosen for each input: policies, and the objective that they share."""
