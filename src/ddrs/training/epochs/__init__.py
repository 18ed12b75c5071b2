"""What people see of a training, kept up epoch by epoch: a table, a picture, TensorBoard's log."""
