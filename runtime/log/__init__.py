"""Logs that survive whatever happens to the run, and what they become: tables, SONATA, traces, pictures."""
