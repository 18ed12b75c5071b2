"""Where jobs are carried out. `local` works in this process; others go beside it."""
