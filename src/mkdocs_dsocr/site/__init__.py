"""Report and verification as Markdown pages that need nothing but Markdown."""
