"""What tries to break certificates: a stream that is hard for a memory, and an attack."""
