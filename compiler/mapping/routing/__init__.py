"""What goes from core to core, and on which links."""
