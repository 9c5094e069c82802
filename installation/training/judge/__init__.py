"""The judge: a frozen kit of held-out pictures and measures, one score Q with its error, and a blind page for people."""
