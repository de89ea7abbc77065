"""Self-contained HTML reports of tests, comparisons and predictions."""
