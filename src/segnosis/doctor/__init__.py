"""Floor 3: why a segmentation model does not learn."""
