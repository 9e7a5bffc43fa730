"""The settings, the training graph, the loop, checkpoints, reports."""
