"""A cell on its way: sent, waited for, shown while it runs, mapped over items."""
