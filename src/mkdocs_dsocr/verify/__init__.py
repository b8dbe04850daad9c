"""Compares formulas with a trace, and a checkpoint with the traced model."""
