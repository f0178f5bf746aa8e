"""The edit in the tab: what the server says of an extraction, and how a tab's place is read."""
