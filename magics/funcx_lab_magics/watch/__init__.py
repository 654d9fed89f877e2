"""Tasks watched as they go: a figure in a notebook's cell, changing text elsewhere, lines in a script."""
