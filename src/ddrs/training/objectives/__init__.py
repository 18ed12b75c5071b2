"""Training objectives: a batch and the sigma of each example -> a loss.

To add one, write a module beside `gaussian` with a frozen dataclass that meets `Objective` and has
a default for every field, enter it in `methods`, and give it five lines of test that inherit the
suite.
"""
