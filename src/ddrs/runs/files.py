"""The names of the files in a run directory (`ddrs.runs.directory` says what each one holds)."""

__all__ = ["CALIBRATION", "CERTIFICATES", "CONFIG", "JOURNAL", "MEMORY_FILE", "SUMMARY"]

CONFIG = "config.json"
JOURNAL = "certificates.partial"
CERTIFICATES = "certificates.parquet"
SUMMARY = "summary.json"
CALIBRATION = "calibration.json"
MEMORY_FILE = "memory.db"
