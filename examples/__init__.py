"""Example networks; their scripts run from the repository's root: `python -m examples.digits.train`."""
