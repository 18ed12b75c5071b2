"""The memory that makes a noise level chosen per input sound: regions that are already answered."""

from ddrs.memory.audit import AuditReport, Violation
from ddrs.memory.entries import Entry
from ddrs.memory.memory import Memory
from ddrs.memory.regions import Region, Resolution
from ddrs.memory.store import parse_url

__all__ = ["AuditReport", "Entry", "Memory", "Region", "Resolution", "Violation", "parse_url"]
