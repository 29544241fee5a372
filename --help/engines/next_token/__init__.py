"""Stories written from left to right, one cell after another: the classic order, and drafts that speed it up."""
