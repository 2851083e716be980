"""Pictures to learn from: a crop cache on disk, batches that are pure functions, pairs, checks."""
