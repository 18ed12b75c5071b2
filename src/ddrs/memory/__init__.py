"""The memory that makes a noise level chosen per input sound: regions that are already answered."""
