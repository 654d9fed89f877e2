"""Who is asking: tokens and principals."""
