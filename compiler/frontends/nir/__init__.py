"""NIR, the neuromorphic intermediate representation: files read and written without loss, and made graphs."""
