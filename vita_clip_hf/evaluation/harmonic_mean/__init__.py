"""An `evaluate` module in the layout that `evaluate.load` reads from a folder."""
