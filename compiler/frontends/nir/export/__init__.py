"""Integer graphs as NIR: said in its nodes where it has them, and read back without loss."""
