"""The benchmark of the mapper: networks, peers, and the table in docs/mapping.md (`make bench-mapping`)."""
