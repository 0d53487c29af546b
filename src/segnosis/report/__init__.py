"""Floor 4: renders a Diagnosis or a run folder for a terminal, a browser or a program. Computes nothing."""
