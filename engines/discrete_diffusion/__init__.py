"""Stories out of masks: one network says what every hidden cell might hold, and rules choose which cells to open."""
