"""As many stages as a fleet sees in days, and whether any process or server has grown by them."""
