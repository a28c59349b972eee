"""lava-dl's netx files: trained networks as Loihi runs them."""
