"""Words read off pictures: letter by letter, or all letters at once with counting and ordering learned on the side."""
