"""The hot loop: noisy forward passes of a base classifier -> class counts."""
