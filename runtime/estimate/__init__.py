"""Operations, latency and energy, each figure with its source."""
