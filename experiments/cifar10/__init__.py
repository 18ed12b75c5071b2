"""The study of CIFAR-10: its plan, what came of it, and the tables made from that."""
