"""From settings to the files of a site: analyses, static analysis, result, pages, artifacts."""
