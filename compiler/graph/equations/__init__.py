"""Equations that users declare: parsed, never executed as Python, with one meaning in floats and integers."""
