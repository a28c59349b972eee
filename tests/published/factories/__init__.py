"""Factories for models whose own files build them only in the course of a training."""
