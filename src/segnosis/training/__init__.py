"""Floor 2: from a data set to a trained, scored run."""
