"""Stories whose blanks are filled in any chosen order, given any visible cells."""
