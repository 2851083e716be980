"""From an objective and batches to trained weights: settings, the loop, checkpoints."""
