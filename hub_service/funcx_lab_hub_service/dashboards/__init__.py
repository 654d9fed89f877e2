"""Live plots of what runs where: one dashboard a file, and what they show, gathered once for all pages.

Nothing here imports bokeh before somebody looks: `mount.py` loads `application.py` then.
"""
