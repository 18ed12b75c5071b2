"""What can be asked for, as plain data that any engine can carry out."""
