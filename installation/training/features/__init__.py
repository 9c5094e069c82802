"""What turns pictures into numbers that distances are measured in: a trained network, and one without weights."""
