"""What mkdocs calls while it builds: the pages of the reference are made from the code, never kept."""

from mkdocs.config.defaults import MkDocsConfig
from mkdocs.structure.files import File, Files

from lmtpd.cli.reference import pages


def on_files(files: Files, *, config: MkDocsConfig) -> Files:
    """Add a page for each table of the reference."""
    for name, text in pages():
        files.append(File.generated(config, f"reference/{name}", content=text))
    return files
