"""Finished runs read back: audited, resolved in other orders, shown as a page."""
