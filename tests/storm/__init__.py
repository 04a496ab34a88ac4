"""Real workers and servers, struck at random, and one account of what came of it."""
