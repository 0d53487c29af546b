"""Checks of normalization and transfer learning: `NRM`."""
