"""The command line: `app.py` has the program and the verbs of a running show, the other files those of a task each."""
