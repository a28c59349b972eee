"""A spiking transformer on the whole picture of a 640 x 480 event camera."""
