"""Floor 5: whole jobs, from the user's words to the files they wanted. Python and the command line both call these."""
