"""Dataset curation: `scan` measures pictures, `align` cuts faces, `review` asks about the uncertain ones, `pack` writes the dataset.

One manifest (a JSON-lines file) goes through all four. What the extra `data` brings is imported only where it is used.
"""
