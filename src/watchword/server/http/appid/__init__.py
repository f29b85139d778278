"""The App ID surface: IBM's URLs and shapes over the same services."""
