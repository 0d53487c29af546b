"""DAT: images, masks and splits as they are stored."""
