"""What Python and packages an endpoint has, and whether a call fits them."""
