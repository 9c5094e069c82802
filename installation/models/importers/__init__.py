"""Foreign files -> our tensors. Each importer reads bytes as data, within limits, and runs nothing that it reads."""
