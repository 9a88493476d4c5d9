"""Tests, and the models and helpers that they share (`from tests.models import zoo`)."""
