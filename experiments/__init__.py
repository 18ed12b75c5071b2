"""Studies made with `ddrs`, with what came of them."""
