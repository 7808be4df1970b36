"""What every app stands on: jobs, errors, tokens, files, databases. Knows no app, no page and no column."""
