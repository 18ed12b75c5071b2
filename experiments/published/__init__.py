"""What a choice of sigma per input would certify, from logs that others have published."""
