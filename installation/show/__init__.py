"""The show, pure: what the artist says, what is heard, and what follows from it."""
