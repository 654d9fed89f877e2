"""The %funcx and %%funcx magics."""
