"""The report: one page that opens from disk, and its figures and tables as files."""

from opensafemlrm.report.page.write import write_report

__all__ = ["write_report"]
