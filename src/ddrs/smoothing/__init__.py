"""The smoothed classifier: where votes, the choice of sigma, proof and memory meet."""
