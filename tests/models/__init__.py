"""Whole models with random weights, and their conversions."""
