"""From a ShowState to a picture. Knows no clock, no window, no file."""
