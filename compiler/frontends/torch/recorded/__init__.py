"""Networks recorded in another environment, by the one file ``spikeloom_capture.py`` that runs there."""
