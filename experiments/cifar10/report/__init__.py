"""The tables and figures of the study, made from its records."""
