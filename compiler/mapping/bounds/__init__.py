"""What no mapping can do without: cores, messages, hops."""
