"""What people see: progress bars, aligned tables, rounded figures, the look of plots."""
